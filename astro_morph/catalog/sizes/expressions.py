# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read and evaluate arithmetic expressions of names, numbers and units; no code is run."""

import ast
import operator
import re

import numpy as np

__all__ = ['Expression']

# Text of models may come from anywhere: a deeply nested one would exhaust the memory.
LONGEST = 300

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}

# Functions, and the number of their arguments.
FUNCTIONS = {'sqrt': 1, 'hypot': 2, 'minimum': 2, 'maximum': 2}

_NUMBER = r'(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?'

# '20 arcsec' or '20arcsec'; and a name with spaces or the like, without quotes: '4 * my radius'.
_QUANTITY = re.compile(rf'({_NUMBER})\s*([a-z]+)')
_ODD_NAME = re.compile(
    rf'(?:({_NUMBER})\s*\*\s*)?([^\W\d][^*/+()"\',\\]*?)(?:\s*\*\s*({_NUMBER}))?'
)


class Expression:
    """
    An arithmetic expression such as ``'3.28 * my_r90'``.

    It has numbers, names, ``+``, ``-``, ``*``, ``/``, ``**``, brackets, and the functions ``sqrt``,
    ``hypot``, ``minimum`` and ``maximum``. Names that are no words are written in quotes.

    Parameters
    ----------
    text : str
        The expression.

    Attributes
    ----------
    names : tuple of str
        The names in it, in order.

    Raises
    ------
    ValueError
        If the text is no such expression.

    Examples
    --------
    >>> from astro_morph.catalog.sizes.expressions import Expression
    >>> expression = Expression('2 * sqrt(a * "b/c") + a')
    >>> expression.names
    ('a', 'b/c')
    >>> float(expression.evaluate({'a': 1.0, 'b/c': 16.0}.get))
    9.0
    >>> Expression('r90*3.28'), Expression('20 arcsec')
    (<Expression: 3.28 * r90>, <Expression: 20 * arcsec>)
    """

    def __init__(self, text):
        self._node = _parse(text.strip())
        names = [_name_of(node) for node in _walk(self._node)]
        self.names = tuple(dict.fromkeys(name for name in names if name is not None))

    def __repr__(self):
        return f'<Expression: {self}>'

    def __str__(self):
        product = self.product
        if product is None:
            return ast.unparse(self._node)
        return f'{product[0]:.12g} * {product[1]}'

    @property
    def product(self):
        """The factor and the name, if the expression is a multiple of one name; else None."""
        node = self._node
        if (name := _name_of(node)) is not None:
            return 1.0, name
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            for factor, other in ((node.left, node.right), (node.right, node.left)):
                if _is_number(factor) and (name := _name_of(other)) is not None:
                    return float(factor.value), name
        return None

    def evaluate(self, lookup):
        """
        Return the value of the expression.

        Parameters
        ----------
        lookup : callable
            Returns the value of a name: a number, an array or a quantity.

        Returns
        -------
        value : float, ndarray or `~astropy.units.Quantity`
            The value.
        """
        with np.errstate(all='ignore'):
            return _evaluate(self._node, lookup)


def _parse(text):
    """Return the syntax tree of an expression, of which each node is known."""
    if len(text) > LONGEST:
        msg = f'it has {len(text)} characters, more than {LONGEST}'
        raise ValueError(msg)
    node = _tree(text)
    if node is None and (match := _QUANTITY.fullmatch(text)):
        node = _tree(f'{match[1]} * {match[2]}')
    if node is None and (match := _ODD_NAME.fullmatch(text)) and not (match[1] and match[3]):
        node = _tree(f'{match[1] or match[3] or 1} * {match[2]!r}')
    if node is None:
        msg = 'it is no expression of columns, numbers and units'
        raise ValueError(msg)
    _walk(node)
    return node


def _tree(text):
    """Return the syntax tree of a text; None if it has none."""
    try:
        return ast.parse(text, mode='eval').body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _walk(node):
    """List an expression and its parts, in order; refuse all that is not known."""
    parts = []
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        parts = [node.left, node.right]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        parts = [node.operand]
    elif _is_call(node):
        parts = node.args
    elif not _is_number(node) and _name_of(node) is None:
        msg = f'{ast.unparse(node)!r} is neither a number, a name nor arithmetic'
        raise ValueError(msg)
    return [node, *(inner for part in parts for inner in _walk(part))]


def _is_call(node):
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and len(node.args) == FUNCTIONS.get(node.func.id)
        and not node.keywords
    )


def _is_number(node):
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _name_of(node):
    """Return the name that a node is, as a word or in quotes; None if it is none."""
    if isinstance(node, ast.Name):
        return node.id
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value if is_text else None


def _evaluate(node, lookup):
    if (name := _name_of(node)) is not None:
        return lookup(name)
    if isinstance(node, ast.Constant):
        # Not an integer of Python, of which a power may take all memory.
        return np.float64(node.value)
    if isinstance(node, ast.UnaryOp):
        return -_evaluate(node.operand, lookup)
    if isinstance(node, ast.BinOp):
        left, right = _evaluate(node.left, lookup), _evaluate(node.right, lookup)
        return OPERATORS[type(node.op)](left, right)
    return getattr(np, node.func.id)(*(_evaluate(part, lookup) for part in node.args))
