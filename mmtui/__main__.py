from mmtui.cli import main

main()
