"""Small pictures of results, for notebooks: inline SVG and CircuitsVis pages that need no network."""
