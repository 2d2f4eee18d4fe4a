"""Captions with all that a tokeniser may stumble over, from a seed: words and marks in new surroundings, and noise."""

# ruff: noqa: RUF001, SIM905

import random
import re

WORDS = (
    "a the man woman dog is riding two red isn't can't won't cannot gonna gotta wanna gimme lemme 'tis 'twas "
    "don`t he's she'll they've i'm o'clock rock'n'roll ol' y'all d'artagnan l'amour c'mon cap'n ma'am li'l '90s "
    "'50 of 80's n't u.s. u.s U.S.A. u.k. eu-u.s. a.m. p.m. e.g. i.e. etc. no. No. nos. vs. vs mr. Mr. Mrs Dr. "
    "st. Jan. Feb. feb. co. Co. ltd. inc. Inc. corp. ph.d. Ph.D. jr. sr. pp. fig. ca. ft. sq. est. al. Mass. "
    "mass. Miss Miss. W. B. j. a. x. dept. t-shirt t-shirt's well-known five-year-old x-ray 3-D a-b-c -- - --- "
    "---- ----- co-op. e-mail re-do mid-air, pro-life anti-war and/or 1/2 1 1/2 3/4 km/h w/o 24/7 a/b/c "
    "either\\/or ½ ¼ 2½ ⅓ 1⁄2 ² x² ₂ 10⁻² 1 2 10 100 1,000 1,000.50 3.14 .5 5. -5 +5 $5 $ US$ £5 € ¢ ¥ # #1 #tag "
    "##  @ @user @@ 10:30 10.30pm 7-up 555-1234 (555) 555 1234 555.123.4567 +44 20 7946 0018 01/02/2003 1-2-03 "
    "12/25/99 2nd 3rd 80s 1990's 5'10\" 6' 50% 5*5 2+2=4 a&b AT&T R&B S&P-500 S&Ls &amp; &lt; &gt; &quot; &apos; "
    "&nbsp; &mdash; &eacute; caf&eacute; &#39; &bogus; & ; : , . .. ... .... ...... . . . … ! !! !? ? ?! \" ' `` "
    "'' ` \u2018 \u2019 \u201c \u201d « » ‹ › \u201a \u201e \x91 \x92 \x93 \x94 \x96 \x97 – — ― ‐ ‑ ( ) (a) [b] "
    "{c} <d> < > << >> <br> <br/> </p> <a href=\"x\"> <a b='c d'> <!-- x --> <?xml?> -LRB- -RRB- :) :-) ;) :( :D "
    ":P =) :-/ ^_^ -_- (^_^) x_x >.< <3 o_o __ _ ___ * ** \\* \\ | ~ ^ % + = / // http://a.com "
    "http://www.x.org/y?z=1, https://t.co/Ab1. www.google.com google.com youtube.com/watch?v=1 me@x.com "
    "<me@x.com> file.txt readme.doc, a.jpg index.html. c++ c# f# C++ so\xadft \xad naïve café NAÏVE ÉCOLE "
    "Straße İstanbul ılık ſo ǅ Ω ΟΔΟΣ 日本 日本語。 한국 привет नमस्ते ٣ 😀 👍🏽 a\u0301 e\u0301 \u200b \u200d \ufeff "
    "\xa0 \u2009 \u3000 、 ， ！ \t \x00 \x01 \x7f \x80 \x85 \u2028 \r \ue000 \ud83d *NL* 'em 'cause 'n' 'til 'bout "
    "Yahoo! E! OK! O'Reilly McDonald's dogs' the'' 'a 'the \"a $a etc.. U.S.. The This It A An Mr. One However"
).split(" ")
JOINTS = [*" " * 5, "", "", "  ", "-", *"/.,'\u2019\xa0\t_\n&\"("]
CHARACTERS = (
    "aAbcdeEgilLmMnNoOpsStTuUvwxyzZ0123456789" * 2
    + " .,-'\"/:;!?&@#$%^*()_+=<>[]{}|\\~`" * 2
    + "\u2019\u2018\xad\xa0½²é٣日İſ"
)


def odd_captions(count: int, seed: int, real: list[str]) -> list[str]:
    """Half of them from `real` ones, if there are any."""
    draw = random.Random(seed)
    captions = []
    while len(captions) < count:
        kind = draw.random()
        if real and kind < 0.5:
            words = [word for _ in range(2) for word in _part(draw, draw.choice(real).split(" "))]
            words.insert(draw.randrange(len(words) + 1), draw.choice(WORDS))
            caption = "".join(word + draw.choice(JOINTS[:9] if draw.random() < 0.9 else JOINTS) for word in words)
        elif kind < 0.8:
            caption = "".join(draw.choice(WORDS) + draw.choice(JOINTS) for _ in range(draw.randrange(1, 9)))
        elif kind < 0.95:
            caption = "".join(draw.choice(CHARACTERS) for _ in range(draw.randrange(1, 25)))
        else:
            caption = "".join(_any_character(draw) for _ in range(draw.randrange(1, 12)))
        if draw.random() < 0.05:
            caption = draw.choice((caption.upper(), caption.title()))
        if not _RUNS_ON.search(caption):
            captions.append(caption)
    return captions


# To Stanford's lexer an attribute of a tag, and what it takes for a face, may go on in the next line.
_RUNS_ON = re.compile("<[^>]*=[ ]*(\"[^\"]*|'[^']*)$|\\[\\^x=[^<]*$", re.I)


def _part(draw: random.Random, words: list[str]) -> list[str]:
    start = draw.randrange(len(words))
    return words[start : start + draw.randrange(1, 8)]


def _any_character(draw: random.Random) -> str:
    return draw.choice(
        (" ", ".", "a", chr(draw.randrange(0x300)), chr(draw.randrange(0x3000)), chr(draw.randrange(0x20000)))
    )
