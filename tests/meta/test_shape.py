"""The limits that keep every piece small enough to be read in one go."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = [*(ROOT / "src").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]

MOST_LINES_OF_A_MODULE = 450
MOST_LINES_OF_A_FUNCTION = 60
MOST_PARAMETERS = 6
SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "base", "core"}


def functions(module: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def is_route(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Each parameter is a field, declared by a decorator."""
    return any(isinstance(decorator, ast.Call) for decorator in function.decorator_list)


def holds_commands(module: Path) -> bool:
    """Each parameter of a command is a flag that users can give; Typer reads them from there."""
    return "cli" in module.parts


def test_modules_are_short() -> None:
    assert MODULES
    lines = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in MODULES}
    assert {path: n for path, n in lines.items() if n > MOST_LINES_OF_A_MODULE} == {}


def test_functions_are_short() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}": lines
        for path in MODULES
        for function in functions(path)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    }
    assert long == {}


def test_functions_take_few_parameters() -> None:
    wide = {
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        for path in MODULES
        if not holds_commands(path)
        for function in functions(path)
        if not is_route(function)
        and len(
            [
                parameter
                for parameter in (
                    *function.args.posonlyargs,
                    *function.args.args,
                    *function.args.kwonlyargs,
                )
                if parameter.arg not in {"self", "cls"}
            ]
        )
        > MOST_PARAMETERS
    }
    assert wide == set()


def test_module_names_say_what_is_in_them() -> None:
    names = {part for path in MODULES for part in path.relative_to(ROOT).with_suffix("").parts}
    assert names & SAYS_NOTHING == set()
