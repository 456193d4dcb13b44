"""The translation of loops into LLVM's language (see the package's docstring for what they may contain)."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final, TypeAlias

import numpy as np
from llvmlite import ir

from .signature import ARRAYS, Signature, UnknownSyntax, functions

Value: TypeAlias = Any  # llvmlite's values are untyped

_INT: Final = ir.IntType(64)
_FLOAT: Final = ir.DoubleType()
_BIT: Final = ir.IntType(1)
_VOID: Final = ir.VoidType()
_POINTER: Final = ir.PointerType()
_NUMBERS: Final = {"int": _INT, "float": _FLOAT, "bool": _BIT}
_INTRINSIC: Final = {"exp": "llvm.exp", "log": "llvm.log", "sqrt": "llvm.sqrt"}
_LIBRARY: Final = ("log1p", "expm1")
_ON_STACK: Final = 4096  # numbers; larger arrays are taken from the heap
_COMPARED: Final = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
_FLOATING: Final = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
_WHOLE: Final = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul"}


@dataclass(frozen=True)
class _Array:
    """An array: the address of its first entry, its extents, the type of its entries; not to be written if fixed."""

    address: Value
    extents: tuple[Value, ...]
    element: Any
    fixed: bool = False


def translated(texts: Sequence[str], names: Mapping[str, Any], root: str) -> str:
    """A function, and what it calls, as the text of an LLVM module; ``names`` holds the constants.

    Raises `UnknownSyntax`.
    """
    return _Module(texts, names, root).text


def _types(signature: Signature) -> list[Any]:
    """The arguments' types: an array is its address and its extents."""
    found: list[Any] = []
    for kind in signature.arguments:
        found += [_NUMBERS[kind]] if kind in _NUMBERS else [_POINTER, *[_INT] * ARRAYS[kind][1]]
    return found


class _Module:
    def __init__(self, texts: Sequence[str], names: Mapping[str, Any], root: str) -> None:
        self.nodes, self.names = functions(texts), names
        self.module = ir.Module(name="loops")
        self.functions: dict[str, tuple[Any, Signature]] = {}
        self._constants: dict[str, _Array] = {}
        self.function(root)
        written: set[str] = set()
        while left := sorted(set(self.functions) - written):
            _Body(self, self.nodes[left[0]], *self.functions[left[0]]).write()
            written.add(left[0])
        for name in written - {root}:
            self.functions[name][0].linkage = "internal"
        self.text = str(self.module)

    def function(self, name: str) -> tuple[Any, Signature]:
        """Declared when it is first called."""
        if name not in self.functions:
            signature = Signature.of(self.nodes[name])
            result = _NUMBERS[signature.result] if signature.result else _VOID
            made = ir.Function(self.module, ir.FunctionType(result, _types(signature)), name)
            made.attributes.add("nounwind")
            for argument in made.args:
                if argument.type == _POINTER:
                    argument.add_attribute("noalias")
                elif argument.type == _BIT:
                    argument.add_attribute("zeroext")
            if result == _BIT:
                made.return_value.add_attribute("zeroext")
            self.functions[name] = made, signature
        return self.functions[name]

    def constant(self, name: str, array: Any) -> _Array:
        """A constant array."""
        if name not in self._constants:
            values = np.asarray(array, dtype=np.float64)
            kind = ir.ArrayType(_FLOAT, values.size)
            made = ir.GlobalVariable(self.module, kind, f"constant.{name}")
            made.linkage, made.global_constant = "internal", True
            made.initializer = ir.Constant(kind, [_number(float(value)) for value in values.ravel()])
            self._constants[name] = _Array(made, tuple(_whole(n) for n in values.shape), _FLOAT, fixed=True)
        return self._constants[name]

    def external(self, name: str, result: Any, arguments: Sequence[Any]) -> Any:
        """A function of the C library."""
        if name in self.module.globals:
            return self.module.globals[name]
        made = ir.Function(self.module, ir.FunctionType(result, arguments), name)
        made.attributes.add("nounwind")
        return made


class _Body:
    """One function being written."""

    def __init__(self, owner: _Module, node: ast.FunctionDef, function: Any, signature: Signature) -> None:
        self.owner, self.node, self.function, self.signature = owner, node, function, signature
        self.entry = ir.IRBuilder(function.append_basic_block("entry"))  # of memory only, before all statements
        self.builder = ir.IRBuilder(function.append_basic_block("body"))
        self.first = self.builder.block
        self.exit = function.append_basic_block("exit")
        self.result = self._memory(_NUMBERS[signature.result]) if signature.result else None
        self.numbers: dict[str, Value] = {}  # name → where it is kept
        self.arrays: dict[str, _Array] = {}
        self.heap: list[Value] = []
        self.loops: list[tuple[Any, Any]] = []  # where continue and break go

    def write(self) -> None:
        arguments = iter(self.function.args)
        for argument, kind in zip(self.node.args.args, self.signature.arguments, strict=True):
            if kind in _NUMBERS:
                self._keep(argument.arg, next(arguments), self.node)
            else:
                entries, axes = ARRAYS[kind]
                address, extents = next(arguments), tuple(next(arguments) for _ in range(axes))
                self.arrays[argument.arg] = _Array(address, extents, _NUMBERS[entries])
        self._block(self.node.body)
        if not self.builder.block.is_terminated:
            if self.result is not None:
                self.builder.unreachable()  # Python's text ends in a return on every way that is taken
            else:
                self.builder.branch(self.exit)
        self.entry.branch(self.first)
        self.builder.position_at_end(self.exit)
        for address in self.heap:
            self.builder.call(self.owner.external("free", _VOID, [_POINTER]), [address])
        if self.result is None:
            self.builder.ret_void()
        else:
            self.builder.ret(self.builder.load(self.result, typ=self.result.allocated_type))

    # Statements

    def _block(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            if self.builder.block.is_terminated:
                return
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Expr(value=ast.Constant()):
                pass
            case ast.Expr(value=ast.Call()):
                self._value(node.value)
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=parts)):
                if len(targets) != len(parts):
                    raise _unknown(node)
                for target, found in zip(targets, [self._value(part) for part in parts], strict=True):
                    self._assign(target, found)
            case ast.Assign(targets=[target], value=value):
                self._assign(target, self._value(value))
            case ast.AugAssign(target=target, op=kind, value=value):
                self._assign(target, self._arithmetic(kind, self._value(target), self._value(value), node))
            case ast.For(target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="range"), args=bounds), orelse=[]):
                self._for(name, bounds, node)
            case ast.While(test=test, body=body, orelse=[]):
                self._while(test, body)
            case ast.If(test=test, body=body, orelse=otherwise):
                with self.builder.if_else(self._truth(test)) as (then, other):
                    with then:
                        self._block(body)
                    with other:
                        self._block(otherwise)
                if all(self._ends(branch) for branch in (body, otherwise)):
                    self.builder.unreachable()
            case ast.Return(value=value):
                self._leave(None if value is None else self._value(value))
            case ast.Continue():
                self.builder.branch(self.loops[-1][0])
            case ast.Break():
                self.builder.branch(self.loops[-1][1])
            case _:
                raise _unknown(node)

    def _ends(self, statements: Sequence[ast.stmt]) -> bool:
        """Whether nothing comes after these statements."""
        if not statements:
            return False
        last = statements[-1]
        if isinstance(last, ast.If):
            return self._ends(last.body) and self._ends(last.orelse)
        return isinstance(last, ast.Return | ast.Continue | ast.Break)

    def _for(self, name: str, bounds: Sequence[ast.expr], node: ast.For) -> None:
        values = [self._value(bound) for bound in bounds]
        begin = values[0] if len(values) > 1 else _whole(0)
        end = values[min(1, len(values) - 1)]
        stride = ast.literal_eval(bounds[2]) if len(bounds) == 3 else 1
        if stride not in (1, -1) or any(value.type != _INT for value in values):
            raise _unknown(node)
        place = self._memory(_INT)
        self.builder.store(begin, place)
        check, body, step, after = (self.function.append_basic_block(what) for what in ("for", "do", "step", "after"))
        self.builder.branch(check)
        self.builder.position_at_end(check)
        here = self.builder.load(place, typ=_INT)
        self.builder.cbranch(self.builder.icmp_signed("<" if stride == 1 else ">", here, end), body, after)
        self.builder.position_at_end(body)
        self._keep(name, here, node)
        with self._looping(step, after):
            self._block(node.body)
        if not self.builder.block.is_terminated:
            self.builder.branch(step)
        self.builder.position_at_end(step)
        moved = self.builder.add(self.builder.load(place, typ=_INT), _whole(stride), flags=["nsw"])
        self.builder.store(moved, place)
        self.builder.branch(check)
        self.builder.position_at_end(after)

    def _while(self, test: ast.expr, statements: Sequence[ast.stmt]) -> None:
        check, body, after = (self.function.append_basic_block(what) for what in ("while", "do", "after"))
        self.builder.branch(check)
        self.builder.position_at_end(check)
        self.builder.cbranch(self._truth(test), body, after)
        self.builder.position_at_end(body)
        with self._looping(check, after):
            self._block(statements)
        if not self.builder.block.is_terminated:
            self.builder.branch(check)
        self.builder.position_at_end(after)

    @contextmanager
    def _looping(self, again: Any, after: Any) -> Iterator[None]:
        self.loops.append((again, after))
        yield
        self.loops.pop()

    def _leave(self, value: Value) -> None:
        if (value is None) != (self.result is None):
            raise UnknownSyntax(f"{self.node.name} must always return the same kind")
        if self.result is not None:
            self.builder.store(self._as(self.result.allocated_type, value, self.node), self.result)
        self.builder.branch(self.exit)

    def _assign(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Name(id=name) if isinstance(value, _Array):
                if name in self.arrays or name in self.numbers:
                    raise UnknownSyntax(f"{name} in {self.node.name} must stay one array")
                self.arrays[name] = value
            case ast.Name(id=name):
                self._keep(name, value, target)
            case ast.Subscript(value=ast.Name(id=name), slice=place) if name in self.arrays:
                array = self.arrays[name]
                if array.fixed:
                    raise UnknownSyntax(f"{name} is constant")
                address, rest = self._entry(array, place)
                if rest:
                    raise _unknown(target)
                self.builder.store(self._as(array.element, value, target), address)
            case _:
                raise _unknown(target)

    def _keep(self, name: str, value: Value, node: ast.AST) -> None:
        if name in self.arrays:
            raise UnknownSyntax(f"{name} in {self.node.name} must stay one array")
        if name not in self.numbers:
            self.numbers[name] = self._memory(value.type)
        place = self.numbers[name]
        self.builder.store(self._as(place.allocated_type, value, node), place)

    # Expressions

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return _number(value)
            case ast.Name(id=name):
                return self._named(name)
            case ast.Attribute(value=ast.Name(id="np" | "math"), attr="inf" | "nan" as name):
                return _number(math.inf if name == "inf" else math.nan)
            case ast.Subscript(value=ast.Attribute(value=array, attr="shape"), slice=ast.Constant(value=int() as axis)):
                return self._array(array).extents[axis]
            case ast.Subscript(value=array, slice=place):
                return self._read(self._array(array), place)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                value = self._number_of(operand)
                return self.builder.fneg(value) if value.type == _FLOAT else self.builder.neg(value)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.builder.not_(self._truth(operand))
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return self._power(self._number_of(left), right)
            case ast.BinOp(left=left, op=kind, right=right):
                return self._arithmetic(kind, self._value(left), self._value(right), node)
            case ast.Compare():
                return self._compared(node)
            case ast.BoolOp(op=kind, values=parts):
                return self._joined(isinstance(kind, ast.And), parts)
            case ast.IfExp(test=test, body=body, orelse=otherwise):
                return self._either(test, body, otherwise)
            case ast.Call(func=function, args=arguments, keywords=[]):
                return self._call(ast.unparse(function), arguments, node)
            case _:
                raise _unknown(node)

    def _named(self, name: str) -> Any:
        if name in self.arrays:
            return self.arrays[name]
        if name in self.numbers:
            place = self.numbers[name]
            return self.builder.load(place, typ=place.allocated_type)
        known = self.owner.names.get(name)
        if isinstance(known, bool | int | float):
            return _number(known)
        if isinstance(known, np.ndarray):
            return self.owner.constant(name, known)
        raise UnknownSyntax(f"unknown name {name} in {self.node.name}")

    def _array(self, node: ast.expr) -> _Array:
        found = self._value(node)
        if not isinstance(found, _Array):
            raise _unknown(node)
        return found

    def _number_of(self, node: ast.expr) -> Value:
        found = self._value(node)
        if isinstance(found, _Array) or found.type == _VOID:
            raise _unknown(node)
        return found

    def _truth(self, node: ast.expr) -> Value:
        found = self._number_of(node)
        if found.type != _BIT:
            raise _unknown(node)
        return found

    def _entry(self, array: _Array, place: ast.expr) -> tuple[Value, tuple[Value, ...]]:
        """The address of an entry or a row, and the extents of what begins there."""
        indices = place.elts if isinstance(place, ast.Tuple) else [place]
        if len(indices) > len(array.extents):
            raise _unknown(place)
        offset = None
        for index, extent in zip(indices, array.extents, strict=False):
            inner = self._number_of(index)
            if inner.type != _INT:
                raise _unknown(place)
            offset = inner if offset is None else self._plus(self._times(offset, extent), inner)
        rest = array.extents[len(indices) :]
        for extent in rest:
            offset = self._times(offset, extent)
        return self.builder.gep(array.address, [offset], inbounds=True, source_etype=array.element), rest

    def _read(self, array: _Array, place: ast.expr) -> Any:
        address, rest = self._entry(array, place)
        if rest:
            return _Array(address, rest, array.element, array.fixed)
        return self.builder.load(address, typ=array.element)

    def _plus(self, one: Value, other: Value) -> Value:
        return self.builder.add(one, other, flags=["nsw"])

    def _times(self, one: Value, other: Value) -> Value:
        return self.builder.mul(one, other, flags=["nsw"])

    def _arithmetic(self, kind: ast.operator, one: Any, other: Any, node: ast.AST) -> Value:
        if isinstance(one, _Array) or isinstance(other, _Array) or _BIT in (one.type, other.type):
            raise _unknown(node)
        if _FLOAT in (one.type, other.type) or isinstance(kind, ast.Div):
            if type(kind) not in _FLOATING:
                raise _unknown(node)
            return getattr(self.builder, _FLOATING[type(kind)])(
                self._as(_FLOAT, one, node), self._as(_FLOAT, other, node)
            )
        if type(kind) not in _WHOLE:
            raise _unknown(node)
        return getattr(self.builder, _WHOLE[type(kind)])(one, other, flags=["nsw"])

    def _power(self, base: Value, exponent: ast.expr) -> Value:
        if isinstance(exponent, ast.Constant) and isinstance(exponent.value, int) and 1 <= exponent.value <= 4:
            multiply: Callable[[Value, Value], Value] = self.builder.fmul if base.type == _FLOAT else self._times
            return reduce(multiply, [base] * exponent.value)
        power = self.owner.module.declare_intrinsic("llvm.pow", [_FLOAT])
        arguments = [self._as(_FLOAT, base, exponent), self._as(_FLOAT, self._number_of(exponent), exponent)]
        return self.builder.call(power, arguments)

    def _compared(self, node: ast.Compare) -> Value:
        """A chain; every operand is read, as none has side effects."""
        values = [self._number_of(part) for part in (node.left, *node.comparators)]
        found = [
            self._relation(_COMPARED[type(kind)], one, other, node)
            for kind, one, other in zip(node.ops, values, values[1:], strict=False)
        ]
        return reduce(self.builder.and_, found)

    def _relation(self, kind: str, one: Value, other: Value, node: ast.AST) -> Value:
        if _BIT in (one.type, other.type):
            raise _unknown(node)
        if _FLOAT in (one.type, other.type):
            one, other = self._as(_FLOAT, one, node), self._as(_FLOAT, other, node)
            # NaN is different from everything and in no other relation to anything.
            compare = self.builder.fcmp_unordered if kind == "!=" else self.builder.fcmp_ordered
            return compare(kind, one, other)
        return self.builder.icmp_signed(kind, one, other)

    def _joined(self, all_of: bool, parts: Sequence[ast.expr]) -> Value:
        """``and`` and ``or``: what does not decide any more is not looked at."""
        result = self._memory(_BIT)
        after = self.function.append_basic_block("joined")
        for part in parts[:-1]:
            value = self._truth(part)
            self.builder.store(value, result)
            more = self.function.append_basic_block("more")
            self.builder.cbranch(value, *((more, after) if all_of else (after, more)))
            self.builder.position_at_end(more)
        self.builder.store(self._truth(parts[-1]), result)
        self.builder.branch(after)
        self.builder.position_at_end(after)
        return self.builder.load(result, typ=_BIT)

    def _either(self, test: ast.expr, body: ast.expr, otherwise: ast.expr) -> Value:
        result = None
        with self.builder.if_else(self._truth(test)) as branches:
            for branch, node in zip(branches, (body, otherwise), strict=True):
                with branch:
                    value = self._number_of(node)
                    if result is None:
                        result = self._memory(value.type)
                    self.builder.store(self._as(result.allocated_type, value, node), result)
        assert result is not None
        return self.builder.load(result, typ=result.allocated_type)

    def _call(self, name: str, arguments: Sequence[ast.expr], node: ast.Call) -> Any:
        short = name.removeprefix("math.").removeprefix("np.")
        if name == "len" and len(arguments) == 1:
            return self._array(arguments[0]).extents[0]
        if name == "np.empty":
            return self._empty(arguments, node)
        if name in self.owner.nodes:
            return self._own(name, arguments, node)
        values = [self._number_of(argument) for argument in arguments]
        if name in ("min", "max") and len(values) > 1:
            return reduce(lambda one, other: self._beyond("<" if name == "min" else ">", one, other, node), values)
        if len(values) != 1:
            raise _unknown(node)
        if name == "abs" and values[0].type == _INT:
            return self.builder.select(
                self.builder.icmp_signed("<", values[0], _whole(0)), self.builder.neg(values[0]), values[0]
            )
        value = self._as(_FLOAT, values[0], node)
        if name == "float":
            return value
        if name == "abs":
            return self.builder.call(self.owner.module.declare_intrinsic("llvm.fabs", [_FLOAT]), [value])
        if short == "isnan":
            return self.builder.fcmp_unordered("uno", value, value)
        if short in _INTRINSIC:
            return self.builder.call(self.owner.module.declare_intrinsic(_INTRINSIC[short], [_FLOAT]), [value])
        if short in _LIBRARY:
            return self.builder.call(self.owner.external(short, _FLOAT, [_FLOAT]), [value])
        raise _unknown(node)

    def _beyond(self, relation: str, one: Value, other: Value, node: ast.AST) -> Value:
        """As Python does it: the first, unless the second is beyond."""
        if one.type != other.type:
            one, other = self._as(_FLOAT, one, node), self._as(_FLOAT, other, node)
        return self.builder.select(self._relation(relation, other, one, node), other, one)

    def _own(self, name: str, arguments: Sequence[ast.expr], node: ast.Call) -> Value:
        function, signature = self.owner.function(name)
        if len(arguments) != len(signature.arguments):
            raise _unknown(node)
        passed: list[Value] = []
        for argument, kind in zip(arguments, signature.arguments, strict=True):
            if kind in _NUMBERS:
                passed.append(self._as(_NUMBERS[kind], self._number_of(argument), node))
                continue
            array = self._array(argument)
            entries, axes = ARRAYS[kind]
            if (array.element, len(array.extents)) != (_NUMBERS[entries], axes) or array.fixed:
                raise _unknown(node)
            passed += [array.address, *array.extents]
        return self.builder.call(function, passed)

    def _empty(self, arguments: Sequence[ast.expr], node: ast.Call) -> _Array:
        """Memory whose size the constants say."""
        element = _FLOAT
        if len(arguments) == 2 and ast.unparse(arguments[1]) == "np.int64":
            element = _INT
        elif len(arguments) != 1:
            raise _unknown(node)
        try:
            size = eval(compile(ast.Expression(arguments[0]), "size", "eval"), dict(self.owner.names))
        except NameError:
            raise _unknown(node) from None
        extents = size if isinstance(size, tuple) else (size,)
        count = reduce(operator.mul, extents, 1)
        if count <= _ON_STACK:
            address = self.entry.alloca(element, max(count, 1))
            address.align = 64
        else:
            allocate = self.owner.external("malloc", _POINTER, [_INT])
            address = self.entry.call(allocate, [_whole(8 * count)])
            self.heap.append(address)
        return _Array(address, tuple(_whole(extent) for extent in extents), element)

    def _memory(self, kind: Any) -> Value:
        return self.entry.alloca(kind)

    def _as(self, kind: Any, value: Any, node: ast.AST) -> Value:
        if isinstance(value, _Array) or (value.type != kind and (value.type, kind) != (_INT, _FLOAT)):
            raise _unknown(node)
        return value if value.type == kind else self.builder.sitofp(value, _FLOAT)


def _whole(value: int) -> Value:
    return ir.Constant(_INT, int(value))


def _number(value: bool | float) -> Value:
    kind = _BIT if isinstance(value, bool) else _INT if isinstance(value, int) else _FLOAT
    return ir.Constant(kind, value)


def _unknown(node: ast.AST) -> UnknownSyntax:
    text = ast.unparse(node)
    line = getattr(node, "lineno", 0)
    return UnknownSyntax(f"not in the language of loops: {text.splitlines()[0]!r} (line {line})")
