"""Finds what ruff cannot: code of the core that observes the order of a set, or makes a float of an amount.

The order of a set differs from process to process; a seed that meets it does not replay (reliability 3).
What is a set is told by annotations and by expressions, file by file: `Vocabulary` has what all files
annotate, `findings()` reads one file. Feeding a set to what sees no order (`sorted`, `any`, `len`, another
set) is no finding, nor is a float of a time, which is a number whose name ends with its unit.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

SETS = {"set", "frozenset", "Set", "AbstractSet", "MutableSet"}
MAPS = {"dict", "defaultdict", "Mapping", "MutableMapping", "OrderedDict"}
SET_METHODS = {"union", "intersection", "difference", "symmetric_difference", "copy"}
# Of these the result does not show in which order they met what they were given.
ORDERLESS = {"sorted", "any", "all", "sum", "len", "min", "max", "set", "frozenset", "bool"}
ORDERED = {"list", "tuple", "iter", "enumerate", "zip", "map", "filter", "deque", "chain", "fromkeys", "join"}
UNITS = ("seconds", "_ms")


class Kind(NamedTuple):
    """A set, the keys of a mapping (sets once they are combined), or a mapping to something."""

    name: str
    value: "Kind | None" = None


SET, KEYS = Kind("set"), Kind("keys")


def annotated(node: ast.expr | None) -> Kind | None:
    """What an annotation says."""
    match node:
        case ast.Constant(value=str(text)):
            return annotated(ast.parse(text, mode="eval").body)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return annotated(left) or annotated(right)
        case ast.Subscript(value=base, slice=ast.Tuple(elts=[_, value])) if terminal(base) in MAPS:
            return Kind("map", annotated(value))
        case ast.Subscript(value=base):
            return SET if terminal(base) in SETS else None
        case ast.Name() | ast.Attribute():
            return SET if terminal(node) in SETS else None
    return None


def terminal(node: ast.expr) -> str:
    """The last name of `a.b.c`, of a call of it, or of an item of it."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=inner) | ast.Subscript(value=inner) | ast.Await(value=inner):
            return terminal(inner)
    return ""


class Vocabulary:
    """What attributes, and answers of functions, are sets: by name, a file's own word first."""

    def __init__(self, trees: Iterable[ast.AST]) -> None:
        self.attributes: dict[str, Kind | None] = {}
        self.answers: dict[str, Kind | None] = {}
        for tree in trees:
            for node in ast.walk(tree):
                self._learn(node, keep_nothing=False)

    def of(self, tree: ast.AST) -> "Vocabulary":
        """The same, where this file has the last word."""
        own = Vocabulary(())
        own.attributes, own.answers = dict(self.attributes), dict(self.answers)
        for forget in (True, False):
            for node in ast.walk(tree):
                own._learn(node, keep_nothing=forget)
        return own

    def _learn(self, node: ast.AST, *, keep_nothing: bool) -> None:
        match node:
            case ast.AnnAssign(target=target, annotation=told):
                kind, into, name = annotated(told), self.attributes, terminal(target)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                is_property = any("property" in terminal(each) for each in node.decorator_list)
                kind, into = annotated(node.returns), self.attributes if is_property else self.answers
                name = node.name
            case _:
                return
        if kind is not None or keep_nothing:
            into[name] = kind


def findings(tree: ast.Module, words: Vocabulary) -> list[str]:
    """Line and words of everything in a file that must not be."""
    return [f"{line}: {text}" for line, text in sorted(_Reader(words.of(tree), {}).read(tree))]


class _Reader:
    """One scope: a module or a function, with the names of those around it."""

    def __init__(self, words: Vocabulary, around: dict[str, Kind]) -> None:
        self._words = words
        self._names = dict(around)

    def read(self, scope: ast.AST) -> Iterator[tuple[int, str]]:
        nodes, inner = _of_scope(scope)
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
            every = [*scope.args.posonlyargs, *scope.args.args, *scope.args.kwonlyargs]
            for argument in every:
                self._bind(argument.arg, annotated(argument.annotation))
        for _ in range(2):  # what a name is may follow from one that is bound further down
            for node in nodes:
                self._name(node)
        free = {id(each) for node in nodes for each in _fed_to_orderless(node)}
        for node in nodes:
            yield from self._observed(node, id(node) in free)
            yield from _floats(node)
        for function in inner:
            yield from _Reader(self._words, self._names).read(function)

    # ------------------------------------------------------------------ what is a set

    def _bind(self, name: str, kind: Kind | None) -> None:
        if kind is not None:
            self._names[name] = kind

    def _name(self, node: ast.AST) -> None:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=told):
                self._bind(name, annotated(told))
            case ast.Assign(targets=[ast.Tuple(elts=both)], value=ast.Await(value=value)):
                if terminal(value) == "wait":  # asyncio.wait answers with two sets
                    for each in both:
                        self._bind(terminal(each), SET)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self._bind(name, self.kind(value))
            case ast.NamedExpr(target=ast.Name(id=name), value=value):
                self._bind(name, self.kind(value))
            case ast.For(target=target, iter=source) | ast.comprehension(target=target, iter=source):
                self._name_items(target, source)

    def _name_items(self, target: ast.expr, source: ast.expr) -> None:
        """What a loop over the values of a mapping to sets calls them."""
        if not (isinstance(source, ast.Call) and isinstance(source.func, ast.Attribute)):
            return
        kind = self.kind(source.func.value)
        if kind is None or kind.value is None:
            return
        if source.func.attr == "values":
            self._bind(terminal(target), kind.value)
        elif source.func.attr == "items" and isinstance(target, ast.Tuple):
            self._bind(terminal(target.elts[-1]), kind.value)

    def kind(self, node: ast.expr) -> Kind | None:
        """What an expression is, where that can be told."""
        match node:
            case ast.Set() | ast.SetComp():
                return SET
            case ast.Name(id=name):
                return self._names.get(name)
            case ast.Attribute(attr=name):
                return self._words.attributes.get(name)
            case ast.Subscript(value=base):
                found = self.kind(base)
                return found.value if found else None
            case ast.BinOp(left=left, op=ast.Sub() | ast.BitAnd() | ast.BitOr() | ast.BitXor(), right=right):
                return SET if {self.kind(left), self.kind(right)} & {SET, KEYS} else None
            case ast.IfExp(body=one, orelse=other):
                return self.kind(one) or self.kind(other)
            case ast.BoolOp(values=values):
                return next((kind for each in values if (kind := self.kind(each))), None)
            case ast.Await(value=value) | ast.NamedExpr(value=value):
                return self.kind(value)
            case ast.Call():
                return self._answer(node)
        return None

    def _answer(self, call: ast.Call) -> Kind | None:
        match call.func:
            case ast.Name(id="set" | "frozenset"):
                return SET
            case ast.Attribute(value=of, attr="get" | "pop" | "setdefault"):
                found = self.kind(of)
                return found.value if found else None
            case ast.Attribute(attr="keys"):
                return KEYS
            case ast.Attribute(value=of, attr=name) if name in SET_METHODS and self.kind(of) == SET:
                return SET
        return self._words.answers.get(terminal(call.func))

    # ------------------------------------------------------------------ who sees its order

    def _observed(self, node: ast.AST, free: bool) -> Iterator[tuple[int, str]]:
        match node:
            case ast.For(iter=source) | ast.AsyncFor(iter=source):
                yield from self._if_set(source, "a loop over a set")
            case ast.ListComp() | ast.GeneratorExp() | ast.DictComp() if not free:
                for each in node.generators:
                    yield from self._if_set(each.iter, "a comprehension over a set")
            case ast.Starred(value=value) if not free:
                yield from self._if_set(value, "a set unpacked")
            case ast.Call(func=ast.Attribute(value=of, attr="pop"), args=[]):
                yield from self._if_set(of, "any one taken out of a set")
            case ast.Call(func=function, args=arguments) if not free and terminal(function) in ORDERED:
                for argument in arguments:
                    yield from self._if_set(argument, f"{terminal(function)}() of a set")
            case ast.Call(func=ast.Name(id="sorted" | "min" | "max"), args=[only], keywords=[_, *_]):
                yield from self._if_set(only, "a set compared by a key, which may be equal")

    def _if_set(self, node: ast.expr, words: str) -> Iterator[tuple[int, str]]:
        if self.kind(node) == SET:
            yield node.lineno, f"{words}: {ast.unparse(node)}"


def _of_scope(scope: ast.AST) -> tuple[list[ast.AST], list[ast.AST]]:
    """The nodes of a scope without those of the functions in it, and these functions."""
    nodes: list[ast.AST] = []
    inner: list[ast.AST] = []
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop(0)
        nodes.append(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner.append(node)
        else:
            waiting.extend(ast.iter_child_nodes(node))
    return nodes, inner


def _fed_to_orderless(node: ast.AST) -> list[ast.AST]:
    match node:
        case ast.Call(func=ast.Name(id=name), args=[only, *_], keywords=[]) if name in ORDERLESS:
            return [only]
        case ast.Set(elts=parts):
            return list(parts)
    return []


def _floats(node: ast.AST) -> Iterator[tuple[int, str]]:
    match node:
        case ast.Call(func=ast.Name(id="float"), args=[ast.Constant(value=str())]):
            return
        case ast.Call(func=ast.Name(id="float"), args=[only]):
            parts = only.values if isinstance(only, ast.BoolOp) else [only]
            names = [terminal(part) for part in parts if not isinstance(part, ast.Constant)]
            if not all(name.endswith(UNITS) for name in names):
                yield node.lineno, f"a float of what is no time: {ast.unparse(node)}"
        case ast.Call(args=arguments) if any(
            isinstance(each, ast.Name) and each.id == "float" for each in arguments
        ):
            yield node.lineno, f"float handed on: {ast.unparse(node)}"


def by_file(texts: dict[str, str]) -> dict[str, list[str]]:
    """The findings of all files, by name; files without one are left out."""
    trees = {name: ast.parse(text) for name, text in texts.items()}
    words = Vocabulary(trees.values())
    found: dict[str, list[str]] = defaultdict(list)
    for name, tree in trees.items():
        for line in findings(tree, words):
            found[name].append(line)
    return dict(found)
