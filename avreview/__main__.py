"""`python -m avreview`."""

from avreview.cli.main import main

main()
