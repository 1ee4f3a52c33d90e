"""The report: plain tables and arrays in, one self-contained HTML file out. It never sees a run or a model.

`model` says what a page is made of, `page.render` makes it, `page.write` puts it on disk.
"""
