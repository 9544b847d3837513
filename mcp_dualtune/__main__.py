"""`python -m mcp_dualtune` is `dualtune`."""

import sys

from mcp_dualtune.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
