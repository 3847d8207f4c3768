"""Links x codecs over one drive: what reaches the screen, how old it is, and what it is worth.

drive -> sender (codecs.py) -> link.endpoint -> emulated link -> link.endpoint -> receiver -> screen -> judge.py
                  ^------------------- acknowledgements -----------------------'

Time is virtual: a minute of a link takes as long as its frames take to code.
"""
