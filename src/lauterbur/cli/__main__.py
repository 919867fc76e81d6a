from lauterbur.cli import main

if __name__ == "__main__":
    main()
