"""`$(eval …)` without Python's `eval`: literals, comparisons, and/or/not, arithmetic and `a if c else b`."""

import ast
import operator
from collections.abc import Callable
from typing import Any

from twin_nodes.core.errors import ConfigError

MAX_LENGTH = 2000
_NUMBERS = (int, float)
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}


def evaluate(expression: str) -> str:
    """Evaluate a restricted Python expression and return `str()` of the result, as launch does.

    Raises:
        ConfigError: when the expression needs more than the restricted language (names, calls, attributes, powers).
    """
    if len(expression) > MAX_LENGTH:
        raise ConfigError(f'$(eval …): the expression has {len(expression)} characters, the limit is {MAX_LENGTH}')
    try:
        return str(_value(ast.parse(expression.strip(), mode='eval').body))
    except SyntaxError as error:
        raise ConfigError(f'$(eval {expression}): not an expression ({error.msg})') from None
    except (TypeError, ZeroDivisionError, OverflowError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise ConfigError(f'$(eval {expression}): {error}') from None
        raise ConfigError(f'$(eval {expression}): {error}') from None


def _value(node: ast.AST) -> Any:
    match node:
        case ast.Constant(value=value) if value is None or isinstance(value, (bool, int, float, str)):
            return value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item) for item in items]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_value(operand))
        case ast.BoolOp(op=op, values=values):
            return _boolean(op, values)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _value(body) if _value(test) else _value(orelse)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _arithmetic(op, _value(left), _value(right))
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            return _chain(left, ops, comparators)
    raise ConfigError(
        f'{ast.unparse(node)!r} is not supported: twin launch allows literals, comparisons, and/or/not, + - * / // % '
        'and a if c else b; put anything else in the node'
    )


def _boolean(op: ast.boolop, values: list[ast.expr]) -> Any:
    """Evaluate and/or lazily: the deciding operand is the value, as in Python."""
    result: Any = None
    for value in values:
        result = _value(value)
        if bool(result) is isinstance(op, ast.Or):
            break
    return result


def _arithmetic(op: ast.operator, left: Any, right: Any) -> Any:
    numbers = isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS)
    joins = isinstance(op, ast.Add) and isinstance(left, str) and isinstance(right, str)
    if not (numbers or joins):  # 'a' * 10**9 must not eat the memory
        raise ConfigError(f'cannot compute {left!r} and {right!r} with {type(op).__name__}')
    return _BINARY[type(op)](left, right)


def _chain(left: ast.expr, ops: list[ast.cmpop], comparators: list[ast.expr]) -> bool:
    first = _value(left)
    for op, comparator in zip(ops, comparators, strict=True):
        second = _value(comparator)
        if type(op) not in _COMPARE:
            raise ConfigError(f'{type(op).__name__} is not supported; use == or !=')
        if not _COMPARE[type(op)](first, second):
            return False
        first = second
    return True
