// The cluster's DNS server: CoreDNS with the four plugins that manifests/coredns.yaml names. All of its plugins would bring
// the clients of every large cloud, ten times the code.
package main

import (
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
)

func main() { coremain.Run() }
