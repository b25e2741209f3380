"""The pages' machinery: parameters, execution, site, results, tables, plots, verdicts."""
