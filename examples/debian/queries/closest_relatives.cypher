// The packages that share the most dependencies with Inkscape: its closest relatives.
MATCH (:Package {name: 'inkscape'})-[:DEPENDS]->(shared:Package)<-[:DEPENDS]-(other:Package)
WHERE other.name <> 'inkscape'
RETURN other.name AS package, count(*) AS shared_dependencies, min(other.description) AS description
ORDER BY shared_dependencies DESC, package
LIMIT 10
