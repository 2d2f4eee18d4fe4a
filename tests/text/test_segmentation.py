"""A tree falls into the chunks that the HRL paper prints."""

import re

import pytest
from nltk import Tree

from captionrl.text.segmentation import boundaries, sentences

# Each caption in its chunks, and below it its tree.

# The paper's own chunks (section 4.1, Figures 1, 4, 6), on trees in the manner of CoreNLP 4.
PAPER = """
The person | then tidies his area | after he is done eating
    (ROOT (S (NP (DT The) (NN person)) (VP (ADVP (RB then)) (VBZ tidies) (NP (PRP$ his) (NN area)) (SBAR (IN
    after) (S (NP (PRP he)) (VP (VBZ is) (VP (VBN done) (S (VP (VBG eating))))))))))
a person | is standing in the room | and holding a bag of groceries on the door .
    (ROOT (S (NP (DT a) (NN person)) (VP (VBZ is) (VP (VP (VBG standing) (PP (IN in) (NP (DT the) (NN room))))
    (CC and) (VP (VBG holding) (NP (NP (DT a) (NN bag)) (PP (IN of) (NP (NNS groceries)))) (PP (IN on) (NP (DT
    the) (NN door)))))) (. .)))
the person | then | walks out .
    (ROOT (S (NP (DT the) (NN person)) (ADVP (RB then)) (VP (VBZ walks) (PRT (RP out))) (. .)))
A person | sits on a bed | and puts a laptop into a bag .
    (ROOT (S (NP (DT A) (NN person)) (VP (VP (VBZ sits) (PP (IN on) (NP (DT a) (NN bed)))) (CC and) (VP (VBZ
    puts) (NP (DT a) (NN laptop)) (PP (IN into) (NP (DT a) (NN bag))))) (. .)))
The person | stands up , | puts the bag on one shoulder , | and walks out of the room .
    (ROOT (S (NP (DT The) (NN person)) (VP (VP (VBZ stands) (PRT (RP up))) (, ,) (VP (VBZ puts) (NP (DT the) (NN
    bag)) (PP (IN on) (NP (CD one) (NN shoulder)))) (, ,) (CC and) (VP (VBZ walks) (PP (IN out) (PP (IN of) (NP
    (DT the) (NN room)))))) (. .)))
A person | is cooking on the stove , | then opens a refrigerator , | and then walks out .
    (ROOT (S (NP (DT A) (NN person)) (VP (VP (VBZ is) (VP (VBG cooking) (PP (IN on) (NP (DT the) (NN stove)))))
    (, ,) (VP (ADVP (RB then)) (VBZ opens) (NP (DT a) (NN refrigerator))) (, ,) (CC and) (ADVP (RB then)) (VP
    (VBZ walks) (PRT (RP out)))) (. .)))
"""

# Trees found in public code: the first six are those of image captions in SNLI and SICK, which Stanford's parser
# made, the others stand in documentation and tests of CoreNLP and of projects that call it.
PRINTED = """
A person | on a horse | jumps over a broken down airplane .
    (ROOT (S (NP (NP (DT A) (NN person)) (PP (IN on) (NP (DT a) (NN horse)))) (VP (VBZ jumps) (PP (IN over) (NP
    (DT a) (JJ broken) (JJ down) (NN airplane)))) (. .)))
A person | is training his horse for a competition .
    (ROOT (S (NP (DT A) (NN person)) (VP (VBZ is) (VP (VBG training) (NP (PRP$ his) (NN horse)) (PP (IN for) (NP
    (DT a) (NN competition))))) (. .)))
The sisters | are hugging goodbye | while holding to go packages after just eating lunch .
    (ROOT (S (NP (DT The) (NNS sisters)) (VP (VBP are) (VP (VBG hugging) (NP (UH goodbye)) (PP (IN while) (S (VP
    (VBG holding) (S (VP (TO to) (VP (VB go) (NP (NNS packages)) (PP (IN after) (S (ADVP (RB just)) (VP (VBG
    eating) (NP (NN lunch))))))))))))) (. .)))
Two women | are embracing | while holding to go packages .
    (ROOT (S (NP (CD Two) (NNS women)) (VP (VBP are) (VP (VBG embracing) (SBAR (IN while) (S (NP (VBG holding))
    (VP (TO to) (VP (VB go) (NP (NNS packages)))))))) (. .)))
A medical worker | wearing a mask in the hospital .
    (ROOT (NP (NP (DT A) (JJ medical) (NN worker)) (VP (VBG wearing) (NP (NP (DT a) (NN mask)) (PP (IN in) (NP
    (DT the) (NN hospital))))) (. .)))
A group of kids | is playing in a yard | and an old man | is standing in the background .
    (ROOT (S (S (NP (NP (DT A) (NN group)) (PP (IN of) (NP (NNS kids)))) (VP (VBZ is) (VP (VBG playing) (PP (IN
    in) (NP (DT a) (NN yard)))))) (CC and) (S (NP (DT an) (JJ old) (NN man)) (VP (VBZ is) (VP (VBG standing) (PP
    (IN in) (NP (DT the) (NN background)))))) (. .)))
The white-haired old man | was sitting in his favorite chair , | holding a thick book | and rubbing his tired eyes .
    (ROOT (S (NP (DT The) (JJ white-haired) (JJ old) (NN man)) (VP (VBD was) (VP (VP (VBG sitting) (PP (IN in)
    (NP (PRP$ his) (JJ favorite) (NN chair)))) (, ,) (VP (VBG holding) (NP (DT a) (JJ thick) (NN book))) (CC
    and) (VP (VBG rubbing) (NP (PRP$ his) (JJ tired) (NNS eyes))))) (. .)))
I | sometimes | go to New York .
    (ROOT (S (NP (PRP I)) (ADVP (RB sometimes)) (VP (VBP go) (PP (TO to) (NP (NNP New) (NNP York)))) (. .)))
If I did not eat that food , | then | I | would have been dead .
    (ROOT (S (SBAR (IN If) (S (NP (PRP I)) (VP (VBD did) (RB not) (VP (VB eat) (NP (DT that) (NN food)))))) (,
    ,) (ADVP (RB then)) (NP (PRP I)) (VP (MD would) (VP (VB have) (VP (VBN been) (ADJP (JJ dead))))) (. .)))
U.S. forces | have been engaged in intense fighting | after insurgents launched simultaneous attacks .
    (ROOT (S (NP (NNP U.S.) (NNS forces)) (VP (VBP have) (VP (VBN been) (VP (VBN engaged) (PP (IN in) (NP (JJ
    intense) (NN fighting))) (SBAR (IN after) (S (NP (NNS insurgents)) (VP (VBD launched) (NP (JJ simultaneous)
    (NNS attacks)))))))) (. .)))
I | saw the man who you love .
    (ROOT (S (NP (PRP I)) (VP (VBD saw) (NP (NP (DT the) (NN man)) (SBAR (WHNP (WP who)) (S (NP (PRP you)) (VP
    (VBP love)))))) (. .)))
Hello | World !
    (ROOT (FRAG (INTJ (UH Hello)) (NP (NNP World)) (. !)))
"""

# Trees typed for what neither list shows: a verb that another prolongs, two heads with one object, what follows a
# clause inside a VP, an opening quote, a sentence that begins with "and", lone words; and what modifies a subject: one
# phrase or several, below "of" and beyond a conjunction too, or nothing but a base that is coordinated.
TYPED = """
he | starts to sing | and play the guitar
    (ROOT (S (NP (PRP he)) (VP (VBZ starts) (S (VP (TO to) (VP (VP (VB sing)) (CC and) (VP (VB play) (NP (DT
    the) (NN guitar)))))))))
they | sit and watch tv
    (ROOT (S (NP (PRP they)) (VP (VBP sit) (CC and) (VBP watch) (NP (NN tv)))))
he | sits | while eating , | on a bed
    (ROOT (S (NP (PRP he)) (VP (VBZ sits) (PP (IN while) (S (VP (VBG eating)))) (, ,) (PP (IN on) (NP (DT a) (NN
    bed))))))
he | `` sings '' .
    (ROOT (S (NP (PRP he)) (`` ``) (VP (VBZ sings)) ('' '') (. .)))
and then | he | runs
    (ROOT (S (CC and) (ADVP (RB then)) (NP (PRP he)) (VP (VBZ runs))))
.
    (ROOT (X (X .)))
today
    (NP-TMP (NN today))
a person | in the kitchen | throws a blue kite
    (ROOT (S (NP (NP (DT a) (NN person)) (PP (IN in) (NP (DT the) (NN kitchen)))) (VP (VBZ throws) (NP (DT a)
    (JJ blue) (NN kite)))))
a man | in red , | wearing a hat , | plays
    (ROOT (S (NP (NP (NP (DT a) (NN man)) (PP (IN in) (NP (JJ red)))) (, ,) (VP (VBG wearing) (NP (DT a) (NN
    hat))) (, ,)) (VP (VBZ plays))))
a man | who sings | sits
    (ROOT (S (NP (NP (DT a) (NN man)) (SBAR (WHNP (WP who)) (S (VP (VBZ sings))))) (VP (VBZ sits))))
a man | playing a guitar on stage | and singing
    (ROOT (NP (NP (DT a) (NN man)) (VP (VP (VBG playing) (NP (DT a) (NN guitar)) (PP (IN on) (NP (NN stage))))
    (CC and) (VP (VBG singing)))))
a mom and son | enjoying a day
    (ROOT (NP (NP (DT a) (NN mom) (CC and) (NN son)) (VP (VBG enjoying) (NP (DT a) (NN day)))))
a group of people | dancing
    (ROOT (NP (NP (DT a) (NN group)) (PP (IN of) (NP (NP (NNS people)) (VP (VBG dancing))))))
a man | in red | and a girl | in blue | talk
    (ROOT (S (NP (NP (NP (DT a) (NN man)) (PP (IN in) (NP (JJ red)))) (CC and) (NP (NP (DT a) (NN girl)) (PP (IN
    in) (NP (JJ blue))))) (VP (VBP talk))))
"""


def trees(*texts: str) -> list[tuple[str, Tree]]:
    records = re.findall(r"^(\S.*)\n((?:    .*\n)+)", "\n".join(texts), re.MULTILINE)
    return [(expected, Tree.fromstring(tree)) for expected, tree in records]


def chunks(words, ends):
    text = " ".join(word + " |" * end for word, end in zip(words, ends, strict=True))
    assert text.endswith(" |")
    return text[:-2]


@pytest.mark.parametrize(("expected", "tree"), trees(PAPER, PRINTED, TYPED))
def test_a_tree_gives_the_chunks_of_its_sentence(expected, tree):
    assert chunks(tree.leaves(), boundaries(tree)) == expected


def subtrees():
    for _, tree in trees(PAPER, PRINTED, TYPED):
        yield from tree.subtrees()


def test_any_fragment_of_a_tree_is_segmented_to_its_end():
    for tree in subtrees():
        ends = boundaries(tree)
        assert len(ends) == len(tree.leaves())
        assert ends[-1]


def test_an_np_inside_a_vp_stays_whole():
    for tree in subtrees():
        if tree.label() == "VP":
            ends = boundaries(tree)
            begin = 0
            for child in tree:
                if child.label() == "NP":
                    assert not any(ends[begin : begin + len(child.leaves()) - 1])
                begin += len(child.leaves())


def test_leaves_without_tags_do_no_harm():
    assert boundaries(Tree("S", [Tree("NP", ["a", "man"]), Tree("VP", ["runs", "away"])])) == [False, True, False, True]


def test_sentences_cover_a_caption_without_gaps():
    expected = ["he says `` go . ''", "then he goes . .", "he sits"]
    words = " ".join(expected).split()
    assert [" ".join(words[part]) for part in sentences(words)] == expected
    assert sentences([]) == []
    assert sentences(["."]) == [slice(0, 1)]
