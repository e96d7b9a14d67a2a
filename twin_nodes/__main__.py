"""`python -m twin_nodes` is `twin`."""

import sys

from twin_nodes.app.cli import main

if __name__ == '__main__':
    sys.exit(main())
