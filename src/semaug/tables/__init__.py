"""The tables of the papers, and some of our own, with what was measured here.

:mod:`semaug.tables.published` says which recipe a published number is a result of,
:mod:`semaug.tables.own` what stands in tables that the papers do not print, and
:mod:`semaug.tables.table` puts finished runs in their places.
"""
