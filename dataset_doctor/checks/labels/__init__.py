"""DD1: label records, in a module each for boxes, shapes, other members, ids, repeats and image sizes."""
