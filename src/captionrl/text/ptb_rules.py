"""The rules of Penn Treebank tokenisation as Stanford CoreNLP 3.4.1 follows them, learnt from how it behaves.

Of all rules the one that takes most characters applies, of equally long ones the first. Oddities are kept: scores that
others have published have them. Tests compare every rule with Stanford's own.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from captionrl.text.ptb_characters import CAPITALS, DIGITS, LETTERS, MARKS, SYMBOLS


class Rule(NamedTuple):
    text: str  # an expression of the token, for `Automaton`
    ahead: str = ""  # and of what has to follow it, which counts in the length but is read again
    token: str | Callable[[str], str] | None = str  # what the text becomes; None: no token
    full_stop: bool = False  # whether the last character, a full stop, is read again too


def without_soft_hyphens(text: str) -> str:
    return text.replace("\u00ad", "") or "-"


def _quotes(text: str, single: str, double: str) -> str:
    text = re.sub("&apos;|'", single, text)
    text = re.sub('&quot;|"', double, text)
    text = re.sub("[\u0091\u2018\u201b\u2039]", "`", text)
    text = re.sub("[\u0092\u2019\u203a]", "'", text)
    text = re.sub("[\u0093\u201c\u00ab]", "``", text)
    return re.sub("[\u0094\u201d\u00bb]", "''", text)


def opening(text: str) -> str:
    return _quotes(text, "`", "``")


def closing(text: str) -> str:
    return _quotes(text, "'", "''")


def hard_spaces(text: str) -> str:
    return text.replace(" ", "\u00a0")


def brackets(text: str) -> str:
    return text.replace("(", "-LRB-").replace(")", "-RRB-")


def ampersands(text: str) -> str:
    return re.sub("(?i:&amp;)", "&", text)


_FRACTIONS = str.maketrans({"¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"})
_CURRENCIES = str.maketrans({"¢": "cents", "£": "#", "\u0080": "$", "¤": "$", "\u20a0": "$", "€": "$"})

NAMES = {
    "l": f"[{LETTERS}]",
    "m": f"[{LETTERS}{MARKS}\u00ad]",  # in a word: with accents that stand alone, and soft hyphens
    "d": f"[{DIGITS}]",
    "w": f"[{LETTERS}{DIGITS}]",
    "u": f"[{CAPITALS}\u2160-\u216f\u24b6-\u24cf]",
    "s": "[ \t\u00a0\u2000-\u200a\u3000]",
    "b": "[ \t\u00a0\u2000-\u200a\u3000\n]",  # a space or the end of a line
    "y": f"[{SYMBOLS}\u24b6-\u24cf+%&~^|\\\\=]",
}

_APOSTROPHE = "(['\u0092\u2019]|&apos;)"
_APOSTROPHE_OR_QUOTE = f"({_APOSTROPHE}|[`\u0091\u2018\u201b])"
_HYPHEN = "[_\u058a\u2010\u2011-]"
_AMPERSAND = "(&|&amp;)"
_PAUSE = "[,;:\u3001]"
_ANY = "[\\s\\S]"

_LETTER = "(\\m|&[aeiouAEIOU](acute|grave|uml);)"
_LETTER_OR_DIGIT = f"({_LETTER}|\\d)"
_WORD = f"{_LETTER}{_LETTER_OR_DIGIT}*([.!?]{_LETTER}{_LETTER_OR_DIGIT}*)*"
_CLITIC = f"{_APOSTROPHE}([msdMSD]|re|ve|ll)"  # 's, 'll
_NOT = f"[nN]{_APOSTROPHE_OR_QUOTE}[tT]"  # n't

_NAME = "[A-Za-z][A-Za-z0-9_:.-]*"
_VALUE = "('[^'\n]*'|\"[^\"\n]*\")"
_TAG = f"<([!?][A-Za-z-][^>\n]*|/{_NAME}[ ]*|{_NAME}([ ]+{_NAME}([ ]*=[ ]*{_VALUE})?)*[ ]*/?[ ]*)>"

_URL = '[^ \t\n"<>|(){}]'
_URL_END = '[^ \t\n"<>|.!?(){},-]'
_WWW = 'www\\.([^ \t\n"<>|.!?(){},]+\\.)+[a-zA-Z]{2,4}'
_DOMAIN = "([^ \t\n\"`'<>|.!?(){},-_$]+\\.)+(com|net|org|edu)"  # the set ends in a range, from the comma to _
_HOST = '[^ \t\n"<>|(){}.\u00a0]+'
_MAIL = f'(&lt;|<)?[a-zA-Z0-9][^ \t\n"<>|(){{}}\u00a0]*@({_HOST}\\.)*{_HOST}(&gt;|>)?'
_ENDINGS = (
    "bat bmp c class cgi cpp dll doc docx exe gif gz h htm html jar java jpeg jpg mov mp3 pdf php pl png ppt ps py sql "
    "tar txt wav x xml zip"
)
_FILE = f"{_LETTER_OR_DIGIT}+(\\.{_LETTER_OR_DIGIT}+)*\\.({'|'.join(_ENDINGS.split())})"

_NUMBER = "(\\d+|\\d*([.,:\u00ad\u066b\u066c]\\d+)+)"
_TELEPHONE = (
    "(\\([0-9]{2,3}\\)[ \u00a0]?|(\\+\\+?)?([0-9]{2,4}[- \u00a0])?[0-9]{2,4}[- \u00a0])[0-9]{3,4}[- \u00a0]?[0-9]{3,5}"
    "|((\\+\\+?)?[0-9]{2,4}\\.)?[0-9]{2,4}\\.[0-9]{3,4}\\.[0-9]{3,5}"
)

_LEAGUES = "(Canada|Sino|Korean|EU|Japan|non)-U\\.S|U\\.S\\.-(U\\.K|U\\.S\\.S\\.R)"
_INITIALS = f"([A-Za-z](\\.[A-Za-z])+|{_LEAGUES})"  # u.s
_INITIAL = f"([A-Za-z]|{_INITIALS})"
# Abbreviations that may end a sentence; in brackets, with a capital only.
_MONTHS_AND_DAYS = "Jan Feb Mar Apr Jun Jul Aug Sept? Oct Nov Dec Mon Tues? Wed Thu Thurs Fri"
_STATES = (
    "Ala Ariz [A]z [A]rk Calif Colo Conn Ct Dak [D]el Fla Ga [I]ll Ind Kans? Ky [L]a [M]ass Md Mich Minn [M]iss Mo "
    "Mont Neb Nev Okla [O]re [P]a Penn Tenn [T]ex Va Vt [W]ash Wisc? Wyo"
)
_OTHERS = (
    "Inc Cos? Corp Pp?t[ye]s? Ltd Plc Rt Bancorp Bhd Assn Univ Intl Sys tel est ext sq Jr Sr Bros (Ed|Ph)\\.D Blvd Rd "
    "Esq etc al seq Bldg"
)
_LAST = f"({'|'.join(f'{_MONTHS_AND_DAYS} {_STATES} {_OTHERS}'.split())})\\."
# Abbreviations that do not.
_TITLES = (
    "[M]iss Mr Mrs Ms Drs? Profs? Sens? Reps? Attys? Lt Col Gen Messrs Govs? Adm Rev Maj Sgt Cpl Pvt Capt Ste? Ave "
    "Pres Lieut Hon Brig Co?mdr Pfc Spc Supts? Det Mt Ft Adj Adv Asst Assoc Ens Insp Mlle Mme Msgr Sfc ph vs Alex "
    "Wm Jos Cie cf a\\.k\\.a TREAS Invt Elec Natl M[ft]g Dept"
)
_TITLE = f"({'|'.join(_TITLES.split())}|{_INITIAL})"
_BEFORE_NUMBER = "(ca|figs?|prop|nos?|art|bldg|pp|op)\\."
# What begins a new sentence behind initials.
_FIRST_WORDS = (
    "A About According Additionally After An As At But Earlier He Her Here However If In It Last Many More Mr\\. Ms\\. "
    "Now Once One Other Our She Since So Some Such That The Their Then There These They This We What When While Yet You"
)
_NEW_SENTENCE = f"\\b+({'|'.join(f'[{word[0]}]{word[1:]}' for word in _FIRST_WORDS.split())}|{_TAG})\\b"

_ELIDED = f"([dDoOlL]{_APOSTROPHE_OR_QUOTE}\\w)?\\w+"  # d'artagnan
_COMPOUND = f"{_ELIDED}({_HYPHEN}{_ELIDED})*"
_HYPHENATED = f"[A-Za-z0-9][A-Za-z0-9.,\u00ad]*(-([A-Za-z0-9\u00ad]+|{_INITIALS}\\.))+"
_EITHER = "[A-Za-z0-9]+(-[A-Za-z]+){0,2}"
_SLASHED = f"{_EITHER}(\\\\?/{_EITHER}){{1,2}}"
_FIRM = "[A-Z]+(([+&]|&amp;)[A-Z]+)+"  # AT&T
_WITH_APOSTROPHE = "|".join(
    (
        f"{_APOSTROPHE}n{_APOSTROPHE}?",
        f"[lLdDjJ]{_APOSTROPHE}",
        f"(Dunkin|somethin|ol){_APOSTROPHE}",
        f"{_APOSTROPHE}(em|till?|cause|[2-9]0s)",
        f"[A-HJ-XZn]{_APOSTROPHE_OR_QUOTE}\\l{{2,}}",
        f"\\l+[aeiouyAEIOUY]{_APOSTROPHE_OR_QUOTE}[aeiouA-Z]\\l*",
        f"O{_APOSTROPHE_OR_QUOTE}o",
        "cont'd\\.?|nor'easter|c'mon|e'er|s'mores|ev'ry|li'l|nat'l",
    )
)

_SMILEY = "[<>]?[:;=][o*'-]?[()DPdpO\\\\{@|\\[\\]]"
_FACE = "|".join(
    (
        "[=x~^<>]\\.\\[^x=[^<\n]*<>\\]",  # meant to be another set behind the full stop
        "[=x~^<>'-]_[=x~^<>'-]",
        "\\([=x~^<>'-][_.]?[=x~^<>'-]\\)",
        "\\([=x~^<>']-[=x~^<>'`]\\)",
    )
)

RULES = (
    Rule("c\\+\\+|(c|f)#"),
    Rule("can", "not"),
    Rule("'t", "was|is"),
    Rule("gon|wan", "na"),
    Rule("got", "ta"),
    Rule("lem|gim", "me"),
    Rule(_TAG, token=hard_spaces),
    Rule("&(md|mdash|ndash);|[\u0096\u0097\u2013-\u2015]", token="--"),
    Rule("&amp;", token="&"),
    Rule("&(HT|TL|UR|LR|QC|QL|QR|odq|cdq|#[0-9]+);"),
    Rule(_WORD, _CLITIC, token=without_soft_hyphens),
    Rule("[A-Za-z\u00ad]*[A-MO-Za-mo-z]\u00ad*", _NOT, token=without_soft_hyphens),
    Rule(_WORD, token=without_soft_hyphens),
    Rule(_WITH_APOSTROPHE),
    Rule(f"y{_APOSTROPHE}", "\\l"),
    Rule(f"https?://{_URL}+{_URL_END}"),
    Rule(f'({_WWW}|{_DOMAIN})(/[^ \t\n"<>|()]+{_URL_END})?'),
    Rule(_MAIL),
    Rule(f"@[a-zA-Z_][a-zA-Z_0-9]*|#{_LETTER}+"),
    Rule(f"{_CLITIC}|{_NOT}", "[^A-Za-z]", token=closing),
    Rule("'", "[A-Za-z][^ \t\n\u00a0]", token=opening),
    Rule(f"{_CLITIC}|{_NOT}", token=closing),
    Rule("\\d{1,2}[-/]\\d{1,2}[-/]\\d{2,4}"),
    Rule(f"[+-]?{_NUMBER}", token=without_soft_hyphens),
    Rule("[\u207a\u207b\u208a\u208b]?([\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+|[\u2080-\u2089]+)"),
    Rule("(\\d{1,4}[- \u00a0])?\\d{1,4}(\\\\?/|\u2044)\\d{1,4}", token=hard_spaces),
    Rule("[\u00bc-\u00be\u2153-\u215e]", token=lambda text: text.translate(_FRACTIONS)),
    Rule(f"-(L|R)(R|C|S)B-|C\\.D\\.s|pro-|anti-|S{_AMPERSAND}P-500|S{_AMPERSAND}Ls", token=ampersands),
    Rule(f"Cap{_APOSTROPHE}n|c{_APOSTROPHE}est"),
    Rule(f"{_APOSTROPHE}[0-9][0-9]", "\\b"),
    Rule(_TELEPHONE, token=lambda text: brackets(hard_spaces(text))),
    Rule('"|&quot;', "[A-Za-z0-9$]", token=opening),
    Rule('"|&quot;', token=closing),
    Rule(_SMILEY, "[^A-Za-z0-9]", token=brackets),
    Rule(_FACE, token=brackets),
    Rule("\\s+|&nbsp;|[\\x00\u200b\u200e\u200f\ufeff\\x7f]", token=None),
    Rule("\\.{3,5}|(\\.[ \u00a0]){2,4}\\.|\u2026", token="..."),
    Rule("-+", token=lambda text: "--" if len(text) in (3, 4) else text),
    Rule(_BEFORE_NUMBER, "\\b?\\d"),
    Rule("(pt[eyEY]|co)\\.", "\\s(ltd|lim)"),
    Rule(_LAST, f"\\b(\\b|\\u|{_TAG})", full_stop=True),
    Rule(_LAST, f"{_ANY}{_ANY}"),
    Rule(_LAST, full_stop=True),  # at the end of the text
    Rule("[A-Za-z]", f"\\.{_NEW_SENTENCE}"),
    Rule(f"{_INITIALS}\\.", _NEW_SENTENCE, full_stop=True),
    Rule(f"{_TITLE}\\."),
    Rule(_TITLE, "\\s"),
    Rule(_INITIAL, "\\b"),
    Rule(f"{_WORD}\\.", _PAUSE, token=without_soft_hyphens),
    Rule(f"{_HYPHENATED}\\.", _PAUSE, token=without_soft_hyphens),
    Rule(f"{_COMPOUND}\\.", _PAUSE),
    Rule(f"{_FIRM}\\.", _PAUSE, token=ampersands),
    Rule(_FILE, "[\u3000 \t\u00a0\u2000-\u200a\n.?!,]"),
    Rule(_HYPHENATED, token=without_soft_hyphens),
    Rule(_COMPOUND),
    Rule(_SLASHED),
    Rule(_FIRM, token=ampersands),
    Rule("\\(", token="-LRB-"),
    Rule("\\)", token="-RRB-"),
    Rule("\\{", token="-LCB-"),
    Rule("\\}", token="-RCB-"),
    Rule("\\[", token="-LSB-"),
    Rule("\\]", token="-RSB-"),
    Rule("<|&lt;", token="<"),
    Rule(">|&gt;", token=">"),
    Rule(
        "[\u0080\u00a2-\u00a5\u060b\u0e3f\u20a0\u20a4\u20ac\uffe0\uffe1\uffe5\uffe6]",
        token=lambda text: text.translate(_CURRENCIES),
    ),
    Rule("[A-Z]*\\$|/|<<|>>|_+|@+|#+|(\\\\\\*){1,3}|\\*+|[?!]+|[.,;:\u3001]|\\y"),
    Rule("''|'|&apos;|[`\u0091-\u0094\u2018-\u201f\u2039\u203a\u00ab\u00bb]{1,2}", token=closing),
    Rule(_ANY, token=None),  # what it does not know
)
