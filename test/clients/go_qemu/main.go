// Drives a QMP server with go-qemu as its documentation shows: a socket monitor, a domain over it, and the raw API.
package main

import (
	"fmt"
	"log"
	"os"
	"time"

	"github.com/digitalocean/go-qemu/qemu"
	"github.com/digitalocean/go-qemu/qmp"
	"github.com/digitalocean/go-qemu/qmp/raw"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	monitor, err := qmp.NewSocketMonitor("unix", os.Args[1], 2*time.Second)
	check(err)
	check(monitor.Connect())
	defer monitor.Disconnect()
	fmt.Printf("version %s\n", monitor.Version)
	fmt.Printf("capabilities %v\n", monitor.Capabilities)

	domain, err := qemu.NewDomain(monitor, "vm")
	check(err)
	stream, done, err := domain.Events()
	check(err)
	defer close(done)
	// The domain hands over one event at a time and answers nothing meanwhile.
	events := make(chan qmp.Event, 100)
	go func() {
		for event := range stream {
			events <- event
		}
	}()
	status := func() {
		status, err := domain.Status()
		check(err)
		fmt.Printf("status %s\n", status)
	}
	api := raw.NewMonitor(monitor)

	status()
	check(api.Stop())
	fmt.Printf("event %s\n", (<-events).Event)
	status()
	check(api.Cont())
	fmt.Printf("event %s\n", (<-events).Event)
	status()
	supported, err := domain.Supported("migrate")
	check(err)
	fmt.Printf("migrate is supported: %v\n", supported)
	kvm, err := api.QueryKVM()
	check(err)
	fmt.Printf("kvm %v\n", kvm.Enabled)
	_, err = domain.Run(qmp.Command{Execute: "nope"})
	fmt.Printf("refused: %v\n", err)

	check(api.Migrate(os.Args[2], nil, nil, nil))
	first := <-events
	fmt.Printf("event %s %v\n", first.Event, first.Data["status"])
	for {
		info, err := api.QueryMigrate()
		check(err)
		if *info.Status == raw.MigrationStatusCompleted {
			break
		}
		if *info.Status == raw.MigrationStatusFailed {
			log.Fatal(*info.ErrorDesc)
		}
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Println("migration completed")
	status()
}
