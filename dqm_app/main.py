"""Makes the document of one browser session; Bokeh runs this file for each of them.

It also runs in processes that only answer the page request and never see the websocket, so it
does next to nothing.
"""

from bokeh.io import curdoc

from dqm_app.page import open_page

open_page(curdoc())
