"""
The house rules that no linter knows, enforced: sizes, places, and what must never stand in a file.

Each rule finds places as ``path:line what``; its test expects none. An exception is listed with its reason.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / "evs_server"
CLIENT = ROOT / "clients" / "python" / "evs_client"

MODULE_LINES_MAX = 400
TEST_LINES_MAX = 600  # tests mirror a module, and say more about it than it does
FUNCTION_LINES_MAX = 60
FUNCTION_LINES_USUAL = 40
FUNCTION_LINES_MEDIAN_MAX = 12

NOT_OURS = {".git", ".venv", "gen", "node_modules", "__pycache__", "build", "dist", ".evs"}
TEXT = {
    ".py",
    ".pyi",
    ".md",
    ".sql",
    ".proto",
    ".toml",
    ".yaml",
    ".yml",
    ".json",
    ".js",
    ".ts",
    ".css",
    ".html",
    ".lock",
}

MAY_CATCH_EVERYTHING = {"evs_server/rpc_status.py", "evs_server/app.py"}
MAY_PRINT: set[str] = set()
MAY_READ_THE_CLOCK = {"evs_server/clock.py"}
MAY_HOLD_FLOATS: set[str] = set()

CODE = [*sorted(SERVER.rglob("*.py")), *sorted(CLIENT.rglob("*.py"))]
TOOLS = sorted((ROOT / "tools").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

SQL = re.compile(
    r"\b(select\s.*\sfrom\s|insert\s+into\s|update\s+\S+\s+set\s|delete\s+from\s|truncate\s+\w|copy\s+\S+\s+(from|to)\s"
    r"|(create|alter|drop)\s+(or\s+replace\s+)?(unique\s+)?(table|index|schema|database|role|function|view)\s"
    r"|lock\s+table\s|begin\s+transaction|set\s+(local\s+)?\w+_timeout)",
    re.IGNORECASE | re.DOTALL,
)
MACHINE = re.compile(r"/(?:root|work)/|/(?:home|Users|tmp)/\w|[A-Z]:\\\\Users|\.pyenv")
REGISTRY = re.compile(
    r"(?<!no-emit-)index-url[ =]|/simple/|(pypi|npmjs|artifactory|nexus|crates)\.\w+[./]|registry\.\w+\.\w"
)
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
MONEY = re.compile(r"_cents$|^cents$")


def shown(path: Path) -> str:
    """A path as the rules and messages write it."""
    return path.relative_to(ROOT).as_posix()


def texts() -> Iterator[Path]:
    """Every text file of ours, but this one, which must name what it forbids."""
    for path in sorted(ROOT.rglob("*")):
        inside = path.relative_to(ROOT).parts
        named = path.suffix in TEXT or path.name in {"Makefile", "run"}
        if named and path.is_file() and path != Path(__file__) and not NOT_OURS.intersection(inside):
            yield path


def places(files: list[Path], found: Callable[[ast.AST], str | None], allowed: set[str] | None = None) -> list[str]:
    """Where a rule finds something, in files that are not exempt from it."""
    return [
        f"{shown(path)}:{getattr(node, 'lineno', 1)} {what}"
        for path in files
        if shown(path) not in (allowed or set())
        for node in ast.walk(ast.parse(path.read_text()))
        if (what := found(node))
    ]


def expect_none(found: list[str]) -> None:
    """Fail with every place, not with the first few."""
    assert not found, "\n".join(["", *found])


def lines_matching(pattern: re.Pattern[str]) -> list[str]:
    """Every line of every text file in which a pattern occurs."""
    return [
        f"{shown(path)}:{number} {line.strip()[:80]}"
        for path in texts()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]


def dotted(node: ast.AST) -> str:
    """``a.b.c`` for a chain of names; empty for anything else."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else node.attr
    return node.id if isinstance(node, ast.Name) else ""


def docstrings(tree: ast.AST) -> set[int]:
    """The nodes, by identity, that are strings standing by themselves: documentation, not values."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, source: list[str]) -> int:
    """Lines of a function without its docstring, blank lines and comments."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body:
        return 1
    own = [
        *source[function.lineno - 1 : function.body[0].lineno - 1],
        *source[body[0].lineno - 1 : function.end_lineno],
    ]
    return sum(1 for line in own if line.strip() and not line.strip().startswith("#"))


def function_sizes(files: list[Path]) -> dict[str, int]:
    """Code lines of every function, by place."""
    return {
        f"{shown(path)}:{node.lineno} {node.name}": code_lines(node, path.read_text().splitlines())
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


# --- sizes -------------------------------------------------------------------------------------------------------


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    """A module has at most 400 lines; beyond that it knows two things."""
    bounds = dict.fromkeys([*CODE, *TOOLS], MODULE_LINES_MAX) | dict.fromkeys(TESTS, TEST_LINES_MAX)
    lengths = {path: len(path.read_text().splitlines()) for path in bounds}
    expect_none([f"{shown(path)}: {length} lines" for path, length in lengths.items() if length > bounds[path]])


def test_no_function_is_longer_than_a_screen() -> None:
    """Sixty lines of code are the end; forty are the aim."""
    sizes = function_sizes([*CODE, *TOOLS, *TESTS])
    expect_none([f"{name}: {size} lines" for name, size in sizes.items() if size > FUNCTION_LINES_MAX])


def test_functions_are_short(record_property: Callable[[str, object], None]) -> None:
    """Of the product's functions nine in ten are within forty lines, and the median is far below."""
    sizes = sorted(function_sizes(CODE).values())
    record_property("function_lines_median", median(sizes))
    assert median(sizes) <= FUNCTION_LINES_MEDIAN_MAX
    assert sizes[len(sizes) * 9 // 10] <= FUNCTION_LINES_USUAL


def test_every_module_says_what_lives_in_it() -> None:
    """A module without a docstring leaves its reader guessing; an empty one has nothing to say."""
    sources = {shown(path): path.read_text() for path in CODE}
    expect_none([name for name, source in sources.items() if source and not ast.get_docstring(ast.parse(source))])


# --- places ------------------------------------------------------------------------------------------------------


def test_sql_stands_in_sql_files() -> None:
    """No string of the server is a statement: those are named in the store's files."""
    found = []
    for path in CODE:
        tree = ast.parse(path.read_text())
        documentation = docstrings(tree)
        found += [
            f"{shown(path)}:{node.lineno} {node.value.strip()[:60]!r}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
            if SQL.search(node.value)
        ]
    expect_none(found)


def test_only_two_modules_catch_everything() -> None:
    """What nobody expected must reach ``rpc_status`` or ``app``, which end the process."""

    def found(node: ast.AST) -> str | None:
        if not isinstance(node, ast.ExceptHandler):
            return None
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        broad = any(kind is None or dotted(kind) in {"Exception", "BaseException"} for kind in kinds)
        # Tidying up and raising it again hides nothing.
        passes_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
        return "catches everything" if broad and not passes_on else None

    expect_none(places([*CODE, *TOOLS], found, MAY_CATCH_EVERYTHING))


def test_only_commands_print() -> None:
    """Everything else logs, or answers."""

    def found(node: ast.AST) -> str | None:
        return "prints" if isinstance(node, ast.Call) and dotted(node.func) == "print" else None

    expect_none(places(CODE, found, MAY_PRINT))


def test_only_the_clock_reads_the_clock() -> None:
    """Time is handed in, so that tests may set it."""
    readers = re.compile(r"^time\.(time|time_ns|monotonic|monotonic_ns|perf_counter)$|datetime\.(now|utcnow|today)$")

    def found(node: ast.AST) -> str | None:
        return dotted(node.func) if isinstance(node, ast.Call) and readers.search(dotted(node.func)) else None

    expect_none(places(sorted(SERVER.rglob("*.py")), found, MAY_READ_THE_CLOCK))


def test_cents_are_multiplied_and_divided_in_the_engine() -> None:
    """Rounding lives in one room; the exchange beside us, and the fold that audits us, have their own."""

    def found(node: ast.AST) -> str | None:
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult | ast.Div | ast.FloorDiv | ast.Mod):
            return None
        names = [dotted(side).rpartition(".")[2] for side in (node.left, node.right)]
        return ast.unparse(node)[:60] if any(MONEY.search(name) for name in names) else None

    rooms = [path for path in CODE if not {"engine", "exchange"}.intersection(path.relative_to(ROOT).parts)]
    expect_none(places(rooms, found))


# --- what must never be there ------------------------------------------------------------------------------------


def test_no_float_comes_near_money() -> None:
    """No float literal, true division or conversion in the engine, in ingest, and in what encodes or audits money."""
    money_path = [
        *sorted((SERVER / "engine").rglob("*.py")),
        *sorted((SERVER / "ingest").rglob("codec.py")),
        *[path for name in ("rows.py", "merge.py", "memory.py") if (path := SERVER / "store" / name).exists()],
        *[path for path in [SERVER / "exchange" / "audit.py"] if path.exists()],
        *sorted((SERVER / "model").rglob("*.py")),
        SERVER / "limits.py",
    ]

    def found(node: ast.AST) -> str | None:
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            return f"float literal {node.value}"
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            return "true division"
        if isinstance(node, ast.Attribute) and node.attr in {"float16", "float32", "float64", "true_divide"}:
            return f"numpy {node.attr}"
        if isinstance(node, ast.Call) and dotted(node.func) in {"float", "round"}:
            return f"calls {dotted(node.func)}"
        return None

    expect_none(places(money_path, found, MAY_HOLD_FLOATS))


def test_tests_wait_for_the_thing_itself() -> None:
    """A sleep in a test is either too short or too long; giving way once (``sleep(0)``) is neither."""

    def found(node: ast.AST) -> str | None:
        if not isinstance(node, ast.Call) or dotted(node.func) not in {"time.sleep", "asyncio.sleep", "sleep"}:
            return None
        gives_way = len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
        return None if gives_way else ast.unparse(node)

    expect_none(places(TESTS, found, {"tests/patience.py"}))  # where it exists: the one shared patience


@pytest.mark.parametrize("pattern", [MACHINE, REGISTRY, UNFINISHED], ids=["machine", "registry", "unfinished"])
def test_no_file_holds_what_is_true_only_here_or_today(pattern: re.Pattern[str]) -> None:
    """No path of one machine, no address of a package registry, no work left undone."""
    expect_none(lines_matching(pattern))


# --- the rules themselves ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_sql", "text"),
    [
        (True, "select id from accounts"),
        (True, "INSERT INTO accounts"),
        (True, "update accounts set x = 1"),
        (True, "CREATE UNIQUE INDEX by_id ON accounts (id)"),
        (False, "a source selected from the list"),
        (False, "update the settings"),
        (False, "create a table with two legs"),
    ],
)
def test_a_statement_is_told_from_a_sentence(is_sql: bool, text: str) -> None:
    """The heuristic knows statements, and leaves prose alone."""
    assert is_sql == bool(SQL.search(text))


def test_code_lines_leave_out_what_is_said_about_them() -> None:
    """Documentation costs nothing."""
    source = (
        'def f(\n    x: int,\n) -> int:\n    """Say.\n\n    More.\n    """\n    # Why.\n\n    y = x\n    return y\n'
    )
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert 5 == code_lines(function, source.splitlines())
