-- Finds TLS that Wireshark does not dissect: after another protocol on the same connection, and inside OpenVPN.
--
-- These dissectors claim connections that other dissectors would have shown.  They do so only if the caller allows it.

local M = {}

local others = ... or {}  -- the modules by name (plain.lua)
local openvpn, upgrade = others.openvpn, others.upgrade

-- Hosts by number.  Only Wireshark's Address identifies a host here: its text changes as soon as Wireshark finds a name for
-- it.  Equal addresses are the same host; equal texts may be two hosts.
local function host_numbers()
    local hosts, by_text = {}, {}

    return function(host)
        local text = tostring(host)
        local number = by_text[text]
        if not number or hosts[number] ~= host then
            number = #hosts + 1
            for other, known in ipairs(hosts) do
                if known == host then
                    number = other
                    break
                end
            end
            hosts[number], by_text[text] = host, number
        end
        return number
    end
end

local host_number = host_numbers()

--- Return the name of a connection, the same for both directions, and its sender.
local function connection_of(pinfo)
    local from, to = host_number(pinfo.src) .. " " .. pinfo.src_port, host_number(pinfo.dst) .. " " .. pinfo.dst_port
    return from < to and from .. " " .. to or to .. " " .. from, from
end

-- Follow connections that begin with another protocol: the first segment identifies it, and a ClientHello starts TLS.
local function follow_upgrades(wanted)
    local upgraded = Proto("certhash_upgrade", "TLS after another protocol")
    local upgrades  -- by connection: the protocol before TLS, and the frame in which TLS begins

    local function forget()
        upgrades = {}
    end
    forget()
    upgraded.init = forget

    function upgraded.dissector(tvb, pinfo, tree)
        local now = upgrades[(connection_of(pinfo))]
        if not now.begins and upgrade.is_hello(tvb:raw()) then
            now.begins = pinfo.number
        end
        local tls = now.begins and pinfo.number >= now.begins
        pinfo.can_desegment = 2  -- TCP grants it only to the first dissector, which passes it on here
        return Dissector.get(tls and "tls" or now.before):call(tvb, pinfo, tree)
    end

    upgraded:register_heuristic("tcp", function(tvb, pinfo, tree)
        local before = wanted() and upgrade.before_tls(tvb:raw())
        if not before then
            return false
        end
        local connection = connection_of(pinfo)
        upgrades[connection] = upgrades[connection] or { before = before }
        pinfo.conversation = upgraded
        upgraded.dissector(tvb, pinfo, tree)
        return true
    end)
end

local OPENVPN_PORT = 1194

-- Recognise OpenVPN on any port by the first packet of a connection, and reassemble the TLS of its control packets;
-- Wireshark's own dissector shows everything else.
local function follow_openvpn(wanted)
    local tunnels  -- of the capture: the bytes that tls-auth adds, by connection; the streams; the records of a packet

    local function forget()
        tunnels = { added = {}, streams = {}, records = {} }
    end
    forget()

    local function control_packet(tvb, pinfo, tree)
        local tunnel, sender = connection_of(pinfo)
        local bytes = tvb:raw()
        local session, id, piece = openvpn.control(bytes, tunnels.added[tunnel] or 0)
        if not session then
            return false
        end
        local place = pinfo.number .. " " .. tvb:offset()
        if not pinfo.visited then
            local name = tunnel .. sender .. session
            tunnels.streams[name] = tunnels.streams[name] or openvpn.stream()
            tunnels.records[place] = tunnels.streams[name].take(id, piece)
        end
        local records = tunnels.records[place] or ""
        if records ~= "" then
            Dissector.get("tls"):call(ByteArray.new(records, true):tvb("TLS in OpenVPN"), pinfo, tree)
        end
        return true
    end

    for carrier, opens in pairs({ udp = openvpn.opens_datagram, tcp = openvpn.opens_stream }) do
        local tunnel = Proto("certhash_openvpn_" .. carrier, "OpenVPN over " .. carrier:upper() .. ", on any port")
        local standard = DissectorTable.get(carrier .. ".port"):get_dissector(OPENVPN_PORT)

        tunnel.init = forget

        local function packet(tvb, pinfo, tree)
            return control_packet(tvb, pinfo, tree) and tvb:len() or standard:call(tvb, pinfo, tree)
        end

        function tunnel.dissector(tvb, pinfo, tree)
            pinfo.cols.protocol = "OpenVPN"
            if carrier == "udp" then
                return packet(tvb, pinfo, tree)
            end
            return dissect_tcp_pdus(tvb, tree, 2, function(pdu, _, at) return 2 + pdu(at, 2):uint() end, function(pdu)
                if not control_packet(pdu(2):tvb(), pinfo, tree) then
                    standard:call(pdu, pinfo, tree)
                end
                return pdu:len()
            end)
        end

        tunnel:register_heuristic(carrier, function(tvb, pinfo, tree)
            local added = wanted() and standard and opens(tvb:raw())
            if not added then
                return false
            end
            tunnels.added[connection_of(pinfo)] = added
            pinfo.conversation = tunnel
            tunnel.dissector(tvb, pinfo, tree)
            return true
        end)
    end
end

--- Register the dissectors.
-- @param wanted() returns whether the dissectors may claim connections now
function M.follow(wanted)
    follow_upgrades(wanted)
    follow_openvpn(wanted)
end

return M
