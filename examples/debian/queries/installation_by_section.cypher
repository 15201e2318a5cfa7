// What installing GIMP can pull in, over every chain of dependencies: sections by total installed size.
MATCH (:Package {name: 'gimp'})-[:DEPENDS* SHORTEST 1..30]->(p:Package)
RETURN p.section AS section, count(*) AS packages, CAST(sum(p.installed_size) / 1024 AS INT64) AS installed_mib
ORDER BY installed_mib DESC, section
LIMIT 10
