"""`python -m avreview`."""

from avreview.cli.entry import main

main()
