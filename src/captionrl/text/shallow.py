"""Captions in chunks without a parser: by closed-class words and verb endings."""

from collections.abc import Iterator, Sequence

from captionrl.text.segmentation import CLOSERS, ends_of, sentences


def word_set(words: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(words.split())


DETERMINERS = word_set(
    "a an the this these those some any each every another both all no one two three four five six several many few "
    "his her its their my your our"
)
_PLURAL = word_set("two three four five six several many few some these those both all people men women kids children")
_PERSONS = word_set("man woman person guy boy girl lady child kid baby dog cat")
_SUBJECTS = word_set("he she they it we you i someone somebody everyone everybody there")
_PRONOUNS = _SUBJECTS | word_set("him them me us himself herself itself themselves something nothing")
_FINITE = word_set("is are was were am has have had does do did can could will would may might must should")
_CONJUNCTIONS = word_set("and but or")
_SUBORDINATORS = word_set("while when because if although though until unless whereas whenever as after before since")
PREPOSITIONS = word_set(
    "of in on at to from with by for about into onto over under through around across near inside outside behind "
    "beside between against along off up down out away back during without within towards toward like than"
)
_ADVERBS = word_set("then now also just still again finally suddenly next first later afterwards")
_RELATIVES = word_set("who which that whose what where how")
_NOT_VERBS = word_set(
    "something nothing anything everything thing string spring ceiling building wedding evening morning clothing "
    "during including always perhaps besides sometimes upstairs downstairs outdoors indoors towards"
)
_NOT_PAST = word_set("dressed called named animated excited seated")
_MARKS = CLOSERS | {","}
_NO_VERB_AFTER = DETERMINERS | PREPOSITIONS | _CONJUNCTIONS


def shallow(tokens: Sequence[str]) -> list[bool]:
    """The segmentation of a caption of lower-cased PTB tokens: a list[bool], True at the last token of each segment.

    Aims at what `segmentation.boundaries` gives, and reaches it where the verb shows: "is", "sits", "holding". A
    plural subject with a bare verb ("two men talk") stays one chunk.
    """
    starts: set[int] = set()
    for part in sentences(tokens):
        starts |= {part.start + at for at in (0, *_clause(tokens[part], 0))}
    return ends_of(starts, len(tokens))


def _clause(words: Sequence[str], at: int) -> Iterator[int]:
    """Where further chunks begin in the clause that begins at `at`, and in all that follows it."""
    if (subject := _opening(words, at)) > at:
        yield subject
    verb = _finite_verb(words, subject)
    if verb is not None:
        lead = verb
        while lead > subject + 1 and words[lead - 1] in _ADVERBS | _CONJUNCTIONS:
            lead -= 1
        starts = [lead] if words[lead] in _CONJUNCTIONS else [lead, verb]  # "two men try to leave | but are stopped"
        yield from (*_modifiers(words, subject, lead), *starts, *_predicate(words, verb))
        return
    modifiers = list(_modifiers(words, subject, len(words)))
    participle = next((i for i in modifiers if _shape(words, i) == "ing"), None)
    if participle is not None:
        yield from (*modifiers, *_predicate(words, participle))
    elif words[subject] in ("a", "an"):  # else it may have a bare verb: "dancers perform on stage"
        yield from modifiers


def _opening(words: Sequence[str], at: int) -> int:
    """Where the subject begins if an adverb or a place opens the clause at `at` ("and then he"); else `at`."""
    end = at + (words[at] in _CONJUNCTIONS)
    if " ".join(words[end : end + 2]) == "after that":
        end += 2
    elif end < len(words) and words[end] in _ADVERBS:
        end += 1
    elif words[at] in PREPOSITIONS:  # "in a video a man ..."
        subjects = (i for i in range(at + 2, len(words)) if words[i] in DETERMINERS | _SUBJECTS)
        subject = next((i for i in subjects if words[i - 1] not in _NO_VERB_AFTER), at)
        verb = _finite_verb(words, at)
        return subject if verb is not None and subject < verb else at
    else:
        return at
    while end < len(words) and words[end] in _MARKS:
        end += 1
    return end if end < len(words) else at


def _modifiers(words: Sequence[str], at: int, end: int) -> Iterator[int]:
    """Where what modifies the noun phrase from `at` to `end` begins: one phrase, and one participle or clause."""
    phrase = False
    for i in range(at + 1, end):
        if words[i - 1] in _NO_VERB_AFTER:  # "a running man"
            continue
        if words[i] in _RELATIVES or _shape(words, i) == "ing":
            yield i
            return
        dressed = _shape(words, i) == "ed" and i + 1 < end and words[i + 1] in PREPOSITIONS
        if not phrase and (dressed or (words[i] in PREPOSITIONS and words[i] != "of")):
            yield i
            phrase = True


def _finite_verb(words: Sequence[str], at: int) -> int | None:
    """The finite verb of the clause whose subject begins at `at`."""
    at += words[at] in _CONJUNCTIONS
    if at + 1 < len(words) and words[at] in _SUBJECTS:
        verb = at + 1
        while verb < len(words) - 1 and words[verb] in _ADVERBS:
            verb += 1
        if words[verb] not in _MARKS | _CONJUNCTIONS | _RELATIVES and _shape(words, verb) != "ing":
            return verb
    past = None
    relative = participle = False
    for i in range(at + 1, len(words)):
        word, before, shape = words[i], words[i - 1], _shape(words, i)
        if word in _SUBORDINATORS:
            break
        if word in _RELATIVES:
            relative = True
        elif (word in _FINITE and before != "to") or (words[at] not in _PLURAL and _is_third(words, i, at)):
            if not relative:
                return i
            relative = False  # the verb of the relative clause; the main one is yet to come
        elif shape == "ing":  # "a man singing , followed by": from here on an -ed is a participle
            participle = True
        elif past is None and i > at + 1 and shape == "ed" and word not in _NOT_PAST and before not in _NO_VERB_AFTER:
            past = None if relative or participle else i
    return past


def _is_third(words: Sequence[str], at: int, subject: int) -> bool:
    """Is the word at `at` a verb in the third person singular, rather than a plural noun?"""
    if _shape(words, at) != "s" or words[at - 1] in _NO_VERB_AFTER or _shape(words, at - 1) == "ing":
        return False
    after = words[at + 1] if at + 1 < len(words) else "."
    if at == subject + 1:  # "a sports car", "cartoon dogs talk", but "man plays guitar"
        continues = after in DETERMINERS | _PRONOUNS | PREPOSITIONS and after != "of"
        return words[subject] in _PERSONS or (continues and words[subject] not in DETERMINERS)
    plain = not any(words[i] in PREPOSITIONS or _shape(words, i) == "ing" for i in range(subject, at))
    if after in _MARKS:  # "a dog barks", but "a man in blue jeans"
        return plain
    if after == "of" or after in _FINITE or (_shape(words, at + 1) == "s" and not plain):  # "in blue jeans sings"
        return False
    return at == subject + 2 or words[at] in ("starts", "begins") or _shape(words, at + 1) != "ing"


def _predicate(words: Sequence[str], verb: int) -> Iterator[int]:
    """Where further chunks begin after the verb at `verb`: conjuncts, subordinate clauses, further sentences."""
    third = _shape(words, verb) == "s" and words[verb] not in _FINITE
    for i in range(verb + 1, len(words) - 1):
        word, before, after = words[i], words[i - 1], words[i + 1]
        if word in _CONJUNCTIONS or (word == "," and after not in _CONJUNCTIONS):
            lead = i + (word == ",")
            first = i + 1
            while first < len(words) - 1 and (words[first] in _ADVERBS or words[first] == ","):
                first += 1
            if words[first] in DETERMINERS | _SUBJECTS and _finite_verb(words, first) is not None:
                yield lead
                yield from _clause(words, lead)
                return
            if _begins_conjunct(words, first, third, led=first > i + 1 or "," in (before, word)):
                yield lead
        elif _subordinates(words, i):
            yield i - (before == "about")


def _begins_conjunct(words: Sequence[str], at: int, third: bool, led: bool) -> bool:
    """Does a further VP begin at `at`, after a bare conjunction, or led to by a comma or an adverb?"""
    after = words[at + 1] if at + 1 < len(words) else "."
    before = _shape(words, at - 2)
    bare = after in _MARKS | _CONJUNCTIONS | PREPOSITIONS | _SUBORDINATORS | _ADVERBS
    match _shape(words, at):
        case "ing":  # "singing and dancing on stage" is one verb with two heads
            return not (bare and before == "ing")
        case "s":  # not "apples and oranges"
            verbal = bare or _shape(words, at + 1) in ("ing", "ed")
            return led or after in DETERMINERS | _PRONOUNS or (third and verbal and before != "s")
    return words[at] in _FINITE


def _subordinates(words: Sequence[str], at: int) -> bool:
    """Does a subordinate clause begin at `at`?"""
    word, before, after = words[at], words[at - 1], words[at + 1]
    if word in ("as", "after", "before", "since", "until"):
        clause = after in DETERMINERS and _finite_verb(words, at + 1) is not None
        return after in _SUBJECTS or clause or _shape(words, at + 1) == "ing"
    return word in _SUBORDINATORS or (word == "how" and before not in ("of", "on", "for"))


def _shape(words: Sequence[str], at: int) -> str:
    """The verb form that a word looks like: "ing", "s", "ed" or ""."""
    word = words[at] if at < len(words) else ""
    if word in _NOT_VERBS or not word.isalpha():
        return ""
    if word.endswith("ing") and len(word) > 4:
        return "ing"
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return "s"
    return "ed" if word.endswith("ed") and len(word) > 3 else ""
