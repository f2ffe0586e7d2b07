"""Reading `{{ … }}` of a low-code manifest without running it.

The few forms of Jinja that manifests use are close to Python's expressions: they are parsed by `ast`, never evaluated,
and what is understood is said in our own terms. Everything else is None: a gap.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

MAX_LENGTH = 4_000
_PARTS = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_STRINGS = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)

Access = tuple[str, tuple[str, ...]]
"""A root (`config`, `response`, …) and the keys that lead into it."""


def parse(text: str) -> ast.expr | None:
    """Return the expression between the braces; None when it is none that can be read."""
    if len(text) > MAX_LENGTH:
        return None
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"_s{len(kept) - 1}_"

    plain = _STRINGS.sub(keep, text).replace("~", "+")
    if re.search(r"\bif\b", plain) and not re.search(r"\belse\b", plain):
        plain += " else None"
    for index, string in enumerate(kept):
        plain = plain.replace(f"_s{index}_", string)
    try:
        return ast.parse(plain.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def only(text: str) -> ast.expr | None:
    """Return the expression of a text that is nothing but one `{{ … }}`."""
    match = _PARTS.fullmatch(text.strip())
    return parse(match[1]) if match else None


def is_plain(text: str) -> bool:
    """Whether a text holds no `{{ … }}` and no `{% … %}`."""
    return "{{" not in text and "{%" not in text


def access(node: ast.expr | None) -> Access | None:
    """Return root and keys of `a['b'].c`, `a.get('b', {})` and the like."""
    if isinstance(node, ast.Name):
        return node.id, ()
    if isinstance(node, ast.Attribute):
        inner = access(node.value)
        return (inner[0], (*inner[1], node.attr)) if inner else None
    if isinstance(node, ast.Subscript):
        inner, key = access(node.value), node.slice
        if isinstance(key, ast.UnaryOp):
            return (inner[0], (*inner[1], ast.unparse(key))) if inner else None
        return (inner[0], (*inner[1], str(key.value))) if inner and isinstance(key, ast.Constant) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
        inner, key = access(node.func.value), node.args[0]
        return (inner[0], (*inner[1], str(key.value))) if inner and isinstance(key, ast.Constant) else None
    return None


def text_of(text: str, say: Callable[[ast.expr], str | None]) -> str | None:
    """Return a text with every `{{ … }}` in it replaced by what `say` returns; None where it has no words for one."""
    if "{%" in text:
        return None
    parts: list[str] = []
    end = 0
    for match in _PARTS.finditer(text):
        node = parse(match[1])
        said = say(node) if node is not None else None
        if said is None:
            return None
        parts += [text[end : match.start()], said]
        end = match.end()
    return "".join([*parts, text[end:]])


def without_paging(node: ast.expr) -> ast.expr:
    """Return the value of `X if not next_page_token …`, and of `X or …` for a parameter, else the node itself."""
    if isinstance(node, ast.IfExp) and "next_page_token" in ast.unparse(node.test):
        positive = not (isinstance(node.test, ast.UnaryOp) and isinstance(node.test.op, ast.Not))
        return node.orelse if positive else node.body
    return node


_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Eq: "=", ast.NotEq: "<>", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.In: "IN", ast.NotIn: "NOT IN", ast.Is: "IS", ast.IsNot: "IS NOT",
}  # fmt: skip


def sql_of(node: ast.expr, field: Callable[[ast.expr], str | None]) -> str | None:
    """Return a condition on records as SQL; `field` gives the SQL of a value that is no literal. None for others."""
    if isinstance(node, ast.BoolOp):
        parts = [sql_of(value, field) for value in node.values]
        joint = " AND " if isinstance(node.op, ast.And) else " OR "
        known = [part for part in parts if part is not None]
        return "(" + joint.join(known) + ")" if len(known) == len(parts) else None
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        inner = sql_of(node.operand, field)
        return f"NOT ({inner})" if inner else None
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        operator = _COMPARE.get(type(node.ops[0]))
        right = (
            _list(node.comparators[0], field) if operator in ("IN", "NOT IN") else _value(node.comparators[0], field)
        )
        left = _value(node.left, field)
        if operator in ("=", "<>") and right == "NULL":
            operator = "IS" if operator == "=" else "IS NOT"
        return f"{left} {operator} {right}" if operator and left and right else None
    return None


def _value(node: ast.expr, field: Callable[[ast.expr], str | None]) -> str | None:
    if isinstance(node, ast.Constant):
        return _literal(node.value)
    if isinstance(node, ast.Name) and node.id in ("true", "false", "none", "null"):
        return {"true": "TRUE", "false": "FALSE"}.get(node.id, "NULL")
    return field(node)


def _list(node: ast.expr, field: Callable[[ast.expr], str | None]) -> str | None:
    if not isinstance(node, ast.List | ast.Tuple) or not node.elts:
        return None
    values = [_value(item, field) for item in node.elts]
    known = [value for value in values if value]
    return f"({', '.join(known)})" if len(known) == len(values) else None


def _literal(value: object) -> str | None:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return str(value)
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) and "${" not in value else None
