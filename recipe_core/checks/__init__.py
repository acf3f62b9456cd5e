"""Checks: experiments on a Pipeline that find what silently ruins its training; `audit` runs them all.

A check is one function, registered by `@check` in a file of this folder that is named after its question.
"""
