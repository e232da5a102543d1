# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Archives that ask for an account: the user's credentials, and the services that need them."""
