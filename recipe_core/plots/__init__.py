"""Pure functions: tables in, plotly figures out; pages, report and notebooks use the same ones."""
