# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Angular sizes of the rows of a catalogue: a column, or an expression of columns."""
