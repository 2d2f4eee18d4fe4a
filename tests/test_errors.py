"""Whatever a file says of itself, a message is a line of text."""

from captionrl.errors import LONGEST, UserError


def test_a_message_is_as_it_was_written():
    assert (
        str(UserError("caf\u00e9/a.json: line 3: not JSON; correct it"))
        == "caf\u00e9/a.json: line 3: not JSON; correct it"
    )


def test_what_would_break_the_line_or_control_a_terminal_is_spelt_out():
    text = "a.json: \x1b[31mred\n\u2028\x85\0\ud83d\u202e"
    assert str(UserError(text)) == r"a.json: \x1b[31mred\n\u2028\x85\x00\ud83d\u202e"


def test_lines_that_are_meant_to_follow_are_arguments():
    assert str(UserError("a.npz: a pickle:", "import numpy", "data = 'a\nb'")) == (
        "a.npz: a pickle:\nimport numpy\ndata = 'a\\nb'"
    )


def test_an_endless_text_is_cut_in_its_middle():
    message = str(UserError(f"a.json: {'x' * 10**6}; correct it"))
    assert len(message) == LONGEST
    assert message.startswith("a.json: xxx")
    assert message.endswith("xxx; correct it")
    assert " ... " in message
