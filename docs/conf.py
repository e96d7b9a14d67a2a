"""Sphinx settings. `make docs` builds the site into build/docs; the reference is generated from the code first."""

import os
import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / 'generate'))
# nodes are started, to be asked for their topics: nobody else shall hear of it
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'OFF')
os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)

project = 'twin_nodes'
author = 'twin_nodes maintainers'
release = metadata.version('twin_nodes')
extensions = ['myst_parser', 'reference']
source_suffix = {'.md': 'markdown'}
exclude_patterns = ['generate']
myst_heading_anchors = 4
myst_links_external_new_tab = True
highlight_language = 'text'
nitpicky = True

html_theme = 'furo'
html_title = 'twin_nodes'
html_theme_options = {'sidebar_hide_name': False}
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
