"""The bridge: EVS for browsers, JSON over a websocket; its own process, a client of EVS, any number of them."""
