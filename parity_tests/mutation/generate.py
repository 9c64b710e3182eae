"""The mutants of a module: single changes to its syntax tree, as edits of its text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not",
    ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
EITHER_WAY = ("max", "min", "maximum", "minimum")
"""Functions whose first two arguments may change places."""
OPERATORS = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*", ast.Pow: "*",
    ast.BitAnd: "|", ast.BitOr: "&",
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        path: of the module, from the root of the repository.
        line: where it is, from 1.
        first: where its statement begins.
        kind: of the change.
        start, end: bytes of the text that it replaces.
        old, new: that text, and what replaces it.
    """

    path: str
    line: int
    first: int
    kind: str
    start: int
    end: int
    old: str
    new: str

    def applied(self, text: str) -> str:
        data = text.encode()
        return (data[: self.start] + self.new.encode() + data[self.end :]).decode()

    def changes(self, text: str) -> bool:
        """Whether it is a program still, and another one."""
        try:
            return ast.dump(ast.parse(self.applied(text))) != ast.dump(ast.parse(text))
        except SyntaxError:
            return False


def mutants(path: str, text: str) -> list[Mutant]:
    """All mutants of a module. Annotations, texts and messages of errors are left alone."""
    data, starts = text.encode(), [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))

    def span(node: ast.AST) -> tuple[int, int]:
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore

    tree, found = ast.parse(text), []
    statements = [(n.lineno, n.end_lineno or n.lineno) for n in ast.walk(tree) if isinstance(n, ast.stmt)]
    for node, kind, changed in _changes(tree):
        start, end = span(node)
        old, new = data[start:end].decode(), f"({changed})" if isinstance(node, ast.BinOp | ast.BoolOp) else changed
        line: int = node.lineno  # type: ignore[attr-defined]
        first = max(begin for begin, last in statements if begin <= line <= last)
        found.append(Mutant(path, line, first, kind, start, end, old, new))
    return found


def _changes(tree: ast.AST) -> Iterator[tuple[ast.AST, str, str]]:
    """Nodes, what kind of change each gets, and its new source."""
    for node in _executed(tree):
        match node:
            case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
                left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
                yield node, "comparison", f"{left} {COMPARISONS[type(op)]} {right}"
            case ast.BinOp(op=op) if type(op) in OPERATORS:
                yield node, "operator", f"({ast.unparse(node.left)}) {OPERATORS[type(op)]} ({ast.unparse(node.right)})"
            case ast.BoolOp(op=op, values=values):
                other = " or " if isinstance(op, ast.And) else " and "
                yield node, "and, or", other.join(f"({ast.unparse(v)})" for v in values)
            case ast.UnaryOp(op=ast.Not() | ast.USub()):
                yield node, "negation", f"({ast.unparse(node.operand)})"
            case ast.Constant(value=bool(value)):
                yield node, "constant", str(not value)
            case ast.Constant(value=int() | float() as value):
                yield node, "constant", repr(value + 1 if isinstance(value, int) else value * 2 + 1)
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
                yield test, "condition", f"(not ({ast.unparse(test)}))"
            case ast.Slice():
                yield from _slice(node)
            case ast.Call(args=[ast.expr() as one, ast.expr() as other, *_]) if (
                not _starred(one, other) and ast.unparse(node.func).rpartition(".")[2] not in EITHER_WAY
            ):
                swapped = ast.Call(node.func, [other, one, *node.args[2:]], node.keywords)
                yield node, "swapped arguments", ast.unparse(swapped)
            case _:
                pass
        if isinstance(node, ast.Call):
            for index, keyword in enumerate(node.keywords):
                if keyword.arg and keyword.arg != "strict":
                    left = ast.Call(node.func, node.args, node.keywords[:index] + node.keywords[index + 1 :])
                    yield node, f"without {keyword.arg}=", ast.unparse(left)


def _slice(node: ast.Slice) -> Iterator[tuple[ast.AST, str, str]]:
    for bound in (node.lower, node.upper):
        if bound is not None:
            yield bound, "slice", f"({ast.unparse(bound)}) + 1"


def _starred(*arguments: ast.expr) -> bool:
    return any(isinstance(a, ast.Starred) for a in arguments)


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below, but for annotations, formatted texts, what is raised, imports, and the main block."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _left_alone(child):
                yield from _executed(child)


def _left_alone(node: ast.AST) -> bool:
    if isinstance(node, ast.keyword) and node.arg == "strict":
        return True  # of zip: what it refuses does not occur
    if isinstance(node, ast.If):
        return ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'")
    return isinstance(node, ast.JoinedStr | ast.Raise | ast.Import | ast.ImportFrom)
