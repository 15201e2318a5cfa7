// The packages farthest below the GNOME desktop, each with a shortest chain of dependencies that leads to it.
MATCH chain = (:Package {name: 'gnome'})-[:DEPENDS* SHORTEST 1..30]->(p:Package)
RETURN p.name AS package, length(chain) AS steps, properties(nodes(chain), 'name') AS chain
ORDER BY steps DESC, package
LIMIT 10
