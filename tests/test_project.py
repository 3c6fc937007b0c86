import ast
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("eye_gaze_data", "saliency", "pretrain", "diagnosis", "experiments")
# So many characters of a message, which no other message has, stand in a test.
TELLING = 16


def test_every_package_is_shipped() -> None:
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in PACKAGES
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert found == set(PROJECT["tool"]["setuptools"]["packages"])


def test_files_beside_the_code_are_shipped() -> None:
    data = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    endings = {Path(pattern).suffix for pattern in data}
    beside = {
        path.suffix
        for package in PROJECT["tool"]["setuptools"]["packages"]
        for path in (ROOT / package.replace(".", "/")).iterdir()
        if path.is_file() and path.suffix != ".py"
    }
    assert beside <= endings


def test_requirements_have_no_upper_bound_and_no_pin() -> None:
    extras = PROJECT["project"]["optional-dependencies"].values()
    for requirement in [*PROJECT["project"]["dependencies"], *(r for part in extras for r in part)]:
        assert not any(sign in requirement for sign in ("==", "<", "~=", "@"))


def trees(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def words(message: ast.expr) -> Iterator[str]:
    """The text of a message between the values that it is filled with."""
    match message:
        case ast.Constant(value=str(text)):
            yield text.strip()
        case ast.JoinedStr(values=parts):
            for part in parts:
                yield from words(part)
        case ast.BinOp(left=left, right=right) | ast.IfExp(body=left, orelse=right):
            yield from words(left)
            yield from words(right)


def error_messages() -> dict[tuple[str, ...], str]:
    """Where each message of an error stands; one that a function words is not seen here."""
    found = {}
    for path, tree in trees(*PACKAGES):
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func).endswith("Error")
                and node.args
            ):
                text = tuple(filter(None, words(node.args[0])))
                if text:
                    found[text] = f"{path}:{node.lineno}"
    return found


def strings(tree: ast.Module) -> Iterator[str]:
    """The strings of a file but those that stand by themselves, its docstrings."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in alone and isinstance(node.value, str):
            yield node.value


def pieces(text: str) -> set[str]:
    return {text[start : start + TELLING] for start in range(len(text) - TELLING + 1)}


def test_every_message_of_an_error_has_a_test_of_its_text() -> None:
    messages = error_messages()
    assert len(messages) > 400
    parts = {text: set().union(*map(pieces, text)) or {max(text, key=len)} for text in messages}
    owners = Counter(piece for found in parts.values() for piece in found)
    said = {text.replace("\\", "") for _, tree in trees("tests") for text in strings(tree)}
    tested = set().union(*map(pieces, said)) & owners.keys()
    tested |= {p for p in owners if len(p) < TELLING and any(p in text for text in said)}
    for text, found in parts.items():
        own = {piece for piece in found if owners[piece] == 1} or found
        assert own & tested, f"{messages[text]}: no test says {' ... '.join(text)!r}"
