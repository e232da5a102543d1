# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Architectures of timm in a file, and the arguments that it may give to their constructors."""

__all__ = ['TIMM', 'check_arguments']

#: Architectures of timm begin so in a specification.
TIMM = 'timm:'

# Arguments that describe the layers. Others could read files or take much time.
_ARGUMENTS = """
    class_token depth depths dims drop_path_rate drop_rate dynamic_img_size embed_dim global_pool
    img_size init_values mlp_ratio num_heads patch_size qkv_bias reg_tokens
""".split()  # noqa: SIM905 - a list takes sixteen lines
_LARGEST_ARGUMENT = 4096
_MOST_BLOCKS = 100
_MOST_ITEMS = 8


def check_arguments(arguments):
    """
    Check the arguments of a constructor of timm that come from a file.

    Parameters
    ----------
    arguments : dict
        The arguments.

    Raises
    ------
    ValueError
        If there are others than those that describe the layers, or one of another type or size.
    """
    for name, value in arguments.items():
        largest = _MOST_BLOCKS if name in ('depth', 'depths') else _LARGEST_ARGUMENT
        values = value if isinstance(value, list) and len(value) <= _MOST_ITEMS else [value]
        is_plain = all(
            item is None
            or (isinstance(item, (int, float)) and 0 <= item <= largest)
            or (isinstance(item, str) and len(item) <= _MOST_BLOCKS)
            for item in values
        )
        if name not in _ARGUMENTS or not is_plain:
            msg = (
                f'the argument {str(name)[:50]!r} of {str(value)[:50]} for a network of timm is '
                'not known, or too large'
            )
            raise ValueError(msg)
