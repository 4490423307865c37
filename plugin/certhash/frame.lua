-- Reads the fields of a frame that this plugin needs.

local M = {}

local others = ... or {}  -- the modules by name (plain.lua)
local certificates, handshakes, story = others.certificates, others.handshakes, others.story

local WARNING, FATAL = 1, 2  -- levels of an alert
local LONGEST_PLAIN_ALERTS = 16  -- bytes; an encrypted alert has 18 or more (RFC 5246, section 6.2.3)

--- Create the readers, which Wireshark allows only while the script loads.
-- @param reader(field name) returns a function that returns a frame's values of this field
-- @return constants, the functions below, and the readers of TLS and DTLS
function M.reading(reader)
    local read = {
        ip = reader("ip"),
        ipv6 = reader("ipv6"),
        protocols = reader("frame.protocols"),
        icmp = reader("icmp"),
        icmpv6 = reader("icmpv6"),
        udp = reader("udp"),
        tls = reader("tls"),
        dtls = reader("dtls"),
        quic = reader("quic"),
        dns = reader("dns"),
        dns_name = reader("dns.qry.name"),
        dns_owner = reader("dns.resp.name"),
        dns_alias = reader("dns.cname"),
        dns_a = reader("dns.a"),
        dns_aaaa = reader("dns.aaaa"),
        tftp = reader("tftp"),
        tftp_request = reader("tftp.request_frame"),
        tcp_stream = reader("tcp.stream"),
        http = reader("http"),
        http_body = reader("http.file_data"),
        http_method = reader("http.request.method"),
        http_code = reader("http.response.code"),
        http_length = reader("http.content_length"),
        http_encoding = reader("http.content_encoding"),
        http_response_for = reader("http.response_for.uri"),  -- up to 4.2
        http_uri = reader("http.request.uri"),                -- on responses too, from 4.4
    }
    -- TLS and DTLS have the same fields under two names.
    local function tls_readers(protocol)
        return {
            type = reader(protocol .. ".handshake.type"),
            random = reader(protocol .. ".handshake.random"),
            certificate = reader(protocol .. ".handshake.certificate"),
            entry_length = reader(protocol .. ".handshake.certificate_length"),
            length = reader(protocol .. ".handshake.certificates_length"),
            server_name = reader(protocol .. ".handshake.extensions_server_name"),
            alert = reader(protocol .. ".alert_message.desc"),
            alert_level = reader(protocol .. ".alert_message.level"),
            alert_message = reader(protocol .. ".alert_message"),
        }
    end
    local TLS, DTLS = tls_readers("tls"), tls_readers("dtls")

    -- Return the last of some values: the innermost one if a protocol is nested in itself.
    local function last(...)
        local count = select("#", ...)
        if count > 0 then
            return (select(count, ...))
        end
    end

    -- Return the innermost IP header, of version 4 or 6.  The order of the frame's protocols shows which is inside the
    -- other: the offsets do not, because reassembled fragments of a tunnel have their own buffer.
    local function innermost_ip()
        local four, six = last(read.ip()), last(read.ipv6())
        if four and six and (":" .. tostring(read.protocols()) .. ":"):match(".*:(ip[v6]*):") == "ipv6" then
            four = nil
        end
        return four, six
    end

    -- Return source and target of a frame in the form of handshakes.endpoint: the innermost addresses of a tunnelled
    -- packet, or the text of the hardware addresses of a frame without IP (EAP over a LAN).
    local function endpoints(pinfo)
        local four, six = innermost_ip()
        local source, target
        if four then
            local header = four.range
            source, target = header:raw(12, 4), header:raw(16, 4)
        elseif six then
            local header = six.range
            source, target = header:raw(8, 16), header:raw(24, 16)
        else
            return handshakes.endpoint(tostring(pinfo.dl_src), 0), handshakes.endpoint(tostring(pinfo.dl_dst), 0)
        end
        if pinfo.port_type == 0 then
            return handshakes.endpoint(source, 0), handshakes.endpoint(target, 0)
        end
        return handshakes.endpoint(source, pinfo.src_port), handshakes.endpoint(target, pinfo.dst_port)
    end

    -- A packet quoted in an ICMP error is an earlier one, and truncated.
    local function quoted()
        return read.icmp() or read.icmpv6()
    end

    local function values(fields)
        for i, info in ipairs(fields) do
            fields[i] = info.value
        end
        return fields
    end

    -- Return the values of some fields, or nil.  (Fetching a FieldInfo costs more than its processing, so none is fetched
    -- twice.)
    local function values_or_nil(first, ...)
        if first == nil then
            return nil
        end
        local list = { first.value }
        for i = 1, select("#", ...) do
            list[i + 1] = (select(i, ...)).value
        end
        return list
    end

    local function has(types, wanted)
        for _, type in ipairs(types) do
            if type == wanted then
                return true
            end
        end
        return false
    end

    -- Return the bytes of a certificate in the message if Wireshark's field differs: for damaged DER the field ends where
    -- the damage begins, but a phone hashes all bytes that it received.
    local function entry_bytes(info, length)
        local source, at = info.source, info.offset
        if source and at + length <= source:len() then
            return source:range(at, length)
        end
    end

    -- Append the Certificate messages of a frame, in order, to a list; each is a list of { range =, known =, whole = }.
    -- The dissector returns all certificates of a frame as one list; the length of a message shows which belong to it.
    local function messages(readers, found)
        local infos = { readers.certificate() }
        if #infos == 0 then
            return found
        end
        local entries = { readers.entry_length() }
        local lengths = #infos > 1 and { readers.length() } or {}
        local paired = #entries == #infos
        local message, at, floor = nil, 0, math.huge
        for i, info in ipairs(infos) do
            local from = info.offset
            local span = lengths[at]
            if not (span and from >= floor and from < span.offset + span.len + span.value) then
                repeat
                    at = at + 1
                until at >= #lengths or lengths[at].value > 0
                message = {}
                found[#found + 1] = message
            end
            local range, length, stated = info.range, #info, paired and entries[i]()
            local whole = stated and stated ~= length and entry_bytes(info, stated) or nil
            local der = whole and whole:raw() or length > 0 and range:raw() or ""
            local damaged = stated and #der ~= stated
            message[#message + 1] = { range = range, known = certificates.know(der), whole = whole, damaged = damaged }
            floor = from + length
        end
        return found
    end

    -- Return the bytes of a TFTP packet.  In some versions its tree item covers only the header, and padding may follow the
    -- datagram in the frame, so the UDP length determines its end.  Return nil if the snapshot length cut it: a cut block
    -- must not be mistaken for the short last block of a file.
    local function tftp_payload(info)
        local header, whole = last(read.udp()), info.source
        if not header or not whole then
            return nil
        end
        local length = header.range:range(4, 2):uint() - 8
        if length < 4 or info.offset + length > whole:len() then
            return nil
        end
        return whole:range(info.offset, length):bytes():raw()
    end

    -- Return whether an alert is plain: ciphertext may look like an alert, and Wireshark then shows it as one (in DTLS).
    -- The record of a plain alert has two bytes, and an encrypted one more (RFC 5246, section 6.2.3); the length
    -- immediately precedes them.  Decrypted data is in a separate buffer, where nothing precedes it.
    local function is_plain(level)
        local source, at = level.source, level.offset
        return at < 2 or source ~= nil and source:range(at - 2, 2):uint() == 2
    end

    -- Return the alerts that share a record with another one, or that two records of a frame share, as { level =, code = }
    -- in order.  Wireshark takes such records for encrypted ones, or shows only the first alert of one (DTLS).
    local function packed_alerts(readers)
        local found, half = {}, nil
        for _, info in ipairs({ readers.alert_message() }) do
            local source, at = info.source, info.offset
            local length = source and at >= 2 and source:range(at - 2, 2):uint() or 0
            if length == 1 and at < source:len() then
                local byte = source:range(at, 1):uint()
                found[#found + 1] = half and { level = half, code = byte }
                half = not half and (byte == WARNING or byte == FATAL) and byte or nil
            end
            local several = length > 2 and length <= LONGEST_PLAIN_ALERTS and length % 2 == 0
            if several and at + length <= source:len() then
                local alerts, plain = {}, true
                for i = 0, length - 2, 2 do
                    local level = source:range(at + i, 1):uint()
                    plain = plain and (level == WARNING or level == FATAL)
                    alerts[#alerts + 1] = { level = level, code = source:range(at + i + 1, 1):uint() }
                end
                for _, alert in ipairs(plain and alerts or {}) do
                    found[#found + 1] = alert
                end
            end
        end
        return found
    end

    -- Return the code of the alert in a frame that rejects a certificate, or nil.
    local function refused(readers)
        local levels, codes = { readers.alert_level() }, values({ readers.alert() })
        for i, code in ipairs(codes) do
            if story.REFUSALS[code] and levels[i].value == FATAL and is_plain(levels[i]) then
                return code
            end
        end
        for _, alert in ipairs(packed_alerts(readers)) do
            if story.REFUSALS[alert.code] and alert.level == FATAL then
                return alert.code
            end
        end
        return nil
    end

    return {
        TCP = 2, UDP = 3,  -- pinfo.port_type
        CLIENT_HELLO = 1, SERVER_HELLO = 2, CERTIFICATE = 11,  -- handshake types
        read = read, tls = TLS, dtls = DTLS,
        last = last, innermost_ip = innermost_ip, endpoints = endpoints, quoted = quoted, values_or_nil = values_or_nil,
        has = has, messages = messages, tftp_payload = tftp_payload, refused = refused,
        packed_alerts = packed_alerts,
    }
end

return M
