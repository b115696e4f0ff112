"""No-reference video quality assessment in two stages: frozen features once, light fusion heads in
seconds.
"""

__version__ = "0.1.0"
