"""Results for people: tables, plots, the HTML report. Never imports torch."""
