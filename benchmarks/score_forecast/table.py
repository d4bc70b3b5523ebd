"""Tables of the forecast: to be filled in."""


def summarise(cells):
    return {"cells": len(cells)}


def table(cells):
    return f"{len(cells)}\n"
