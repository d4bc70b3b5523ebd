"""`python -m promptport` is the command `promptport`."""

from promptport.cli import main

main()
