# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Archives that ask for an account, and refuse requests without it."""
