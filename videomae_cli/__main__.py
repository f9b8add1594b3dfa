"""`python -m videomae_cli` is `videomae`."""

from videomae_cli.cli.app import main

if __name__ == "__main__":
    main()
