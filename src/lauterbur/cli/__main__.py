from lauterbur.cli import main

main()
