"""What holds for every test."""

import os

from hypothesis import settings

# A busy machine is slow, not wrong; and a failure must come again when the run is repeated.
settings.register_profile("overnight", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("overnight")

# The settings of whoever runs the tests are not part of them.
for _name in [name for name in os.environ if name.startswith("OVERNIGHT_")]:
    del os.environ[_name]
