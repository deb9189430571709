"""Who may come in: everything that is asked of a connection and of a request before a route sees it.

Certificate, number of connections, names and origins, keys in all their forms, how often, whose sessions. It knows
requests and keys, nothing of what is said in a session.
"""
