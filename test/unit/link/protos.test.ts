import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { EventRequest, EventSinkServiceService } from '../../../src/gen/events/events.ts';
import {
  ProvisionRequest,
  ProvisionResponse,
  ProvisionServiceService,
} from '../../../src/gen/siderolink/provision.ts';
import { loadProtos } from '../../kit/protos.ts';

const protos = loadProtos();

function fields(type: string): Record<string, string> {
  return Object.fromEntries(
    protos.lookupType(type).fieldsArray.map((field) => {
      const presence = field.repeated ? 'repeated ' : field.options?.['proto3_optional'] ? 'optional ' : '';
      return [field.id, `${presence}${field.type} ${field.name}`];
    }),
  );
}

test('messages have the field numbers, names, types and presence of the SideroLink wire API', () => {
  assert.deepEqual(fields('sidero.link.ProvisionRequest'), {
    1: 'string node_uuid',
    2: 'string node_public_key',
    3: 'optional string join_token',
    4: 'optional string node_unique_token',
    5: 'optional string talos_version',
    6: 'optional bool wireguard_over_grpc',
  });
  assert.deepEqual(fields('sidero.link.ProvisionResponse'), {
    1: 'repeated string server_endpoint',
    3: 'string server_public_key',
    4: 'string node_address_prefix',
    5: 'string server_address',
    6: 'string grpc_peer_addr_port',
  });
  assert.deepEqual(fields('sidero.link.PeerPacket'), { 2: 'bytes Data' });
  assert.deepEqual(fields('events.EventRequest'), {
    1: 'google.protobuf.Any data',
    2: 'string id',
    3: 'string actor_id',
  });
  assert.deepEqual(fields('events.EventResponse'), {});
});

test('services have the full method names of the wire API', () => {
  assert.equal(ProvisionServiceService.provision.path, '/sidero.link.ProvisionService/Provision');
  assert.equal(EventSinkServiceService.publish.path, '/events.EventSinkService/Publish');
  const tunnel = protos.lookupService('sidero.link.WireGuardOverGRPCService').methods['CreateStream'];
  assert.ok(tunnel);
  assert.deepEqual(
    [tunnel.requestType, tunnel.requestStream, tunnel.responseType, tunnel.responseStream],
    ['PeerPacket', true, 'PeerPacket', true],
  );
});

const text = fc.string({ maxLength: 20 });

test('the generated ProvisionRequest is the one of proto/, absent and empty told apart', () => {
  const type = protos.lookupType('sidero.link.ProvisionRequest');
  const request = fc.record(
    {
      nodeUuid: text,
      nodePublicKey: text,
      joinToken: text,
      nodeUniqueToken: text,
      talosVersion: text,
      wireguardOverGrpc: fc.boolean(),
    },
    { requiredKeys: ['nodeUuid', 'nodePublicKey'], noNullPrototype: true },
  );
  fc.assert(
    fc.property(request, (message) => {
      const theirs = type.toObject(type.decode(ProvisionRequest.encode(message).finish()));
      const expected: Record<string, unknown> = {
        ...(message.nodeUuid === '' ? {} : { node_uuid: message.nodeUuid }),
        ...(message.nodePublicKey === '' ? {} : { node_public_key: message.nodePublicKey }),
        ...(message.joinToken === undefined ? {} : { join_token: message.joinToken }),
        ...(message.nodeUniqueToken === undefined ? {} : { node_unique_token: message.nodeUniqueToken }),
        ...(message.talosVersion === undefined ? {} : { talos_version: message.talosVersion }),
        ...(message.wireguardOverGrpc === undefined
          ? {}
          : { wireguard_over_grpc: message.wireguardOverGrpc }),
      };
      assert.deepEqual({ ...theirs }, expected);
      const ours = ProvisionRequest.decode(type.encode(expected).finish());
      assert.deepEqual(
        { ...ours },
        {
          joinToken: undefined,
          nodeUniqueToken: undefined,
          talosVersion: undefined,
          wireguardOverGrpc: undefined,
          ...message,
        },
      );
    }),
  );
});

test('the generated ProvisionResponse and EventRequest are the ones of proto/', () => {
  const response = {
    serverEndpoint: ['a:1', 'b:2'],
    serverPublicKey: 'key',
    nodeAddressPrefix: 'fd00::2/64',
    serverAddress: 'fd00::1',
    grpcPeerAddrPort: '[fd00::3]:50889',
  };
  const responseType = protos.lookupType('sidero.link.ProvisionResponse');
  const decoded = responseType.toObject(responseType.decode(ProvisionResponse.encode(response).finish()));
  assert.deepEqual(
    { ...decoded },
    {
      server_endpoint: ['a:1', 'b:2'],
      server_public_key: 'key',
      node_address_prefix: 'fd00::2/64',
      server_address: 'fd00::1',
      grpc_peer_addr_port: '[fd00::3]:50889',
    },
  );
  const eventType = protos.lookupType('events.EventRequest');
  const event = { data: { type_url: 'x/machine.Event', value: Buffer.of(1, 2) }, id: 'i', actor_id: 'a' };
  const ours = EventRequest.decode(eventType.encode(event).finish());
  assert.equal(ours.data?.typeUrl, 'x/machine.Event');
  assert.deepEqual([...(ours.data?.value ?? [])], [1, 2]);
  assert.deepEqual([ours.id, ours.actorId], ['i', 'a']);
});
