// The packages that most other packages depend on.
MATCH (:Package)-[:DEPENDS]->(p:Package)
RETURN p.name AS package, p.section AS section, count(*) AS dependents
ORDER BY dependents DESC, package
LIMIT 10
