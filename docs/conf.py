"""The documentation: ``make docs`` builds it, warnings are errors."""

project = "gazedx"
author = "The gazedx developers"
extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
html_theme = "furo"
exclude_patterns = ["_build", "notes"]
# Headings get the anchors that the pages' own links use.
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "ignore-module-all": True}
napoleon_use_rtype = False
napoleon_use_ivar = True
# Types stay out here too: a regex in one is read as markup.
napoleon_attr_annotations = False
html_title = "gazedx"
# Pages of the API are made from the docstrings at each build.
apidoc_modules = [
    {"path": f"../{name}", "destination": f"api/{name}", "max_depth": 2, "separate_modules": True}
    for name in ("eye_gaze_data", "saliency", "pretrain", "diagnosis", "experiments")
]
